"""Restart or wait: the closed form against simulated attempts, where the two cross, and advice from chains."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.measure.restart import Attempts, advise

rates = st.floats(0.05, 0.95)
times = st.floats(1, 500)


def simulated(given: Attempts, runs: int) -> tuple[float, float]:
    """Mean and standard error of the time to a right answer, attempt by attempt."""
    rng = np.random.default_rng(0)
    total = np.zeros(runs)
    open_ = np.arange(runs)
    first = True
    while len(open_):
        right = rng.random(len(open_)) < given.right
        dropped = rng.random(len(open_)) < np.where(right, given.lost, given.caught)
        total[open_] += 0 if first else given.restart
        total[open_] += np.where(dropped, given.until_look, np.where(right, given.until_right, given.until_wrong))
        open_, first = open_[dropped | ~right], False
    return float(total.mean()), float(total.std() / np.sqrt(runs))


CASES = [
    Attempts(right=0.6, caught=0.7, lost=0.1, until_right=10, until_wrong=20, until_look=4, restart=1),
    Attempts(right=0.9, caught=0.5, lost=0.3, until_right=10, until_wrong=12, until_look=6, restart=3),
    Attempts(right=0.2, caught=0.95, lost=0.5, until_right=100, until_wrong=300, until_look=20),
]


@pytest.mark.parametrize("case", CASES)
def test_the_closed_form_is_what_a_simulation_finds(case: Attempts) -> None:
    mean, error = simulated(case, 100_000)
    assert case.dropping == pytest.approx(mean, abs=4 * error)
    alone = Attempts(**{**vars(case), "caught": 0.0, "lost": 0.0})
    mean, error = simulated(alone, 100_000)
    assert case.waiting == pytest.approx(alone.dropping)
    assert case.waiting == pytest.approx(mean, abs=4 * error)


@given(rates, rates, rates, times, times, times, st.floats(0, 100))
def test_below_the_affordable_rate_dropping_is_quicker_and_above_it_slower(
    right: float, caught: float, lost: float, good: float, bad: float, look: float, restart: float
) -> None:
    some = Attempts(
        right=right, caught=caught, lost=lost, until_right=good, until_wrong=bad, until_look=look, restart=restart
    )
    line = some.affordable
    if 0.001 < line < 0.999:
        at = Attempts(**{**vars(some), "lost": line})
        assert at.dropping == pytest.approx(at.waiting, rel=1e-6)
    if abs(lost - line) > 1e-6:
        assert (some.dropping < some.waiting) == (lost < line)


def test_a_predictor_that_never_fires_changes_nothing_and_one_that_always_does_never_ends() -> None:
    never = Attempts(right=0.5, caught=0, lost=0, until_right=10, until_wrong=20, until_look=5, restart=2)
    assert never.dropping == never.waiting == 10 + 22
    assert Attempts(**{**vars(never), "caught": 1, "lost": 1}).dropping == float("inf")
    assert Attempts(**{**vars(never), "right": 0}).waiting == float("inf")


def chains(n: int, lost: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    right = rng.random(n) < 0.6
    flagged = rng.random(n) < np.where(right, lost, 0.8)
    length = np.where(right, rng.normal(200, 20, n), rng.normal(400, 40, n)).clip(60)
    return right, flagged, length, rng.normal(50, 5, n).clip(10, 59)


def test_advice_follows_the_measured_confusion_and_says_when_it_does_not_know() -> None:
    good, bad = advise(*chains(2000, 0.02)), advise(*chains(2000, 0.7))
    assert (good.verdict, bad.verdict) == ("drop", "wait")
    assert good.low < good.saving < good.high
    assert good.attempts.right == pytest.approx(0.6, abs=0.05)
    line = good.attempts.affordable
    assert advise(*chains(40, line)).verdict == "undecided"
    assert "Give up chains that look wrong" in str(good)
    assert "Do not give up" in str(bad)


def test_what_cannot_be_advised_on_is_refused() -> None:
    with pytest.raises(BadInput, match="lists of one length"):
        advise([1, 0], [0], [5, 5], [1, 1])
    with pytest.raises(BadInput, match="right chains and wrong ones"):
        advise([1, 1], [0, 1], [5, 5], [1, 1])
    with pytest.raises(BadInput, match="right must be from 0 to 1"):
        Attempts(**{**vars(CASES[0]), "right": 1.5})
