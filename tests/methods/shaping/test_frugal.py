"""Frugal: easy prompts as length regularisers."""

import pytest

from satisfice.methods.shaping.frugal import Frugal, efficiency_adjusted_accuracy
from satisfice.testing import rollouts


def test_worked_example_of_the_filter() -> None:
    assert Frugal().wanted([1, 0.94, 0.5, 0.06, 0]).tolist() == [False, True, True, True, True]


def test_rows_of_prompts_that_are_always_solved_are_not_kept() -> None:
    batch = rollouts([1, 0, 1, 0], group=[0, 0, 1, 1], pass_rate=[1, 1, 0.5, 0.5])
    shaped = Frugal()(batch)
    assert shaped.keep.tolist() == [False, False, True, True]
    assert shaped.advantage == pytest.approx([0.7071, -0.7071] * 2, abs=1e-4)
    assert (Frugal().loss.clip_high, Frugal().loss.kl, Frugal().cap({}, ["a"])[0]) == (0.28, 0, 16384)


@pytest.mark.parametrize(
    ("accuracy", "length", "expected"), [(73.33, 21090.1, 5.9279), (60.00, 10604.1, 46.0184), (70.0, 9367.67, 70.0)]
)
def test_worked_example_of_the_measure(accuracy: float, length: float, expected: float) -> None:
    value = efficiency_adjusted_accuracy(accuracy, length, shortest=9367.67, longest=23349)
    assert value == pytest.approx(expected, abs=1e-4)


def test_equal_lengths_are_not_discounted() -> None:
    assert efficiency_adjusted_accuracy(50, 7, shortest=7, longest=7) == 50
