"""AUCM: the worked example, and counting."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.measure.abstention import Abstention, abstention


def test_worked_example() -> None:
    outcomes = ["right"] * 55 + ["wrong"] * 15 + ["abstained"] * 10 + ["abstained"] * 12 + ["wrong"] * 8
    found = abstention(outcomes, [True] * 80 + [False] * 20)  # type: ignore[arg-type]
    assert found == Abstention(right=55, wrong=15, missed=10, declined=12, invented=8)
    assert found.answerable_accuracy == 0.6875
    assert found.unanswerable_accuracy == 0.6
    assert found.rate == 0.22
    assert found.precision == pytest.approx(0.7051, abs=1e-4)


@given(st.lists(st.sampled_from(["right", "wrong", "abstained"]), min_size=1))
def test_where_all_are_answerable_accuracy_is_precision_times_coverage(outcomes: list[str]) -> None:
    found = abstention(outcomes)  # type: ignore[arg-type]
    if found.rate < 1:
        assert found.answerable_accuracy == pytest.approx(found.precision * (1 - found.rate))
    assert math.isnan(found.unanswerable_accuracy)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match="cannot be answered rightly"):
        abstention(["right"], [False])
    with pytest.raises(BadInput, match="Give one for each"):
        abstention(["right"], [])
    with pytest.raises(BadInput, match="at least 0"):
        Abstention(right=-1, wrong=0, missed=0)
