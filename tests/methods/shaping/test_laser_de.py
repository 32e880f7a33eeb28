"""LASER-DE: long wrong rollouts are forgiven."""

import numpy as np
import pytest

from satisfice.methods.shaping import LaserDe
from satisfice.methods.shaping.laser_de import goes_in_circles
from satisfice.testing import rollouts

STATE = {"step": 20, "monitored": 20, "targets": {"high": 2048, "medium": 3072, "low": None}}


def test_worked_example() -> None:
    batch = rollouts([1, 1, 1, 0], [1000, 2000, 4000, 3000], repetitive=[0, 0, 0, 0])
    shaped = LaserDe()(batch, STATE)
    assert shaped.reward.tolist() == [1.5, 1.5, 1.0, 0.0]
    assert shaped.advantage == pytest.approx([0.7071, 0.7071, 0.0, -1.4142], abs=1e-4)


@pytest.mark.parametrize(
    ("length", "columns", "expected"),
    [(2000, {}, -0.5), (3000, {"repetitive": [0, 0, 0, 1]}, -0.5), (3000, {"well_formed": [1, 1, 1, 0]}, -1.0)],
)
def test_what_is_not_forgiven(length: int, columns: dict[str, list[int]], expected: float) -> None:
    batch = rollouts([1, 1, 1, 0], [1000, 2000, 4000, length], **{"repetitive": [0] * 4, **columns})
    assert LaserDe()(batch, STATE).reward[3] == expected


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (list(range(400)), False),
        ([7] * 400, False),  # n-grams of a single token do not count
        ([1, 2, 3, 4, 5, *range(100, 110), 1, 2], False),  # a 2-gram twice, but far apart
        ([1, 2, 9, 1, 2, *range(100, 115)], True),  # close together
        ([*range(1000, 1300), *range(8), *range(2000, 2300), *range(8)], True),  # eight tokens, far apart
        ([*range(1000, 1300), *range(7), *range(2000, 2300), *range(7)], False),
        ([*(n for i in range(3) for n in (1, 2, 3, 4, 50 + i)), *range(1000, 1300)], True),  # three times, close
        ([*(n for i in range(2) for n in (1, 2, 3, 4, 50 + i)), *range(1000, 1300)], False),
        ([], False),
    ],
)
def test_going_in_circles(ids: list[int], expected: bool) -> None:
    assert goes_in_circles(ids) is expected


def test_random_ids_of_a_large_vocabulary_do_not_go_in_circles() -> None:
    assert not goes_in_circles(np.random.default_rng(0).integers(0, 10**6, 3000).tolist())
