"""Restart or wait: the closed form against simulated attempts, where the two cross, and advice from chains."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.measure.restart import Attempt, Predictor, advise, choose, columns, times
from satisfice.methods.halting.robot_restart import RobotRestart

rates = st.floats(0.05, 0.95)
spans = st.floats(1, 500)


NUMBERS = ("right", "caught", "lost", "until_right", "until_wrong", "until_look", "looking", "restart")


def test_a_hundred_random_predictors_agree_with_simulation() -> None:
    """Every one within four standard errors, and the errors as large as chance makes them."""
    rng = np.random.default_rng(0)
    n, runs = 100, 2_000
    low, high = [0.2, 0, 0, 1, 1, 1, 0, 0], [0.95, 1, 0.7, 300, 500, 100, 20, 50]
    drawn = dict(zip(NUMBERS, rng.uniform(low, high, (n, 8)).T, strict=True))
    total, still = np.zeros((n, runs)), np.ones((n, runs), dtype=bool)
    column = {name: values[:, None] for name, values in drawn.items()}
    first = True
    while still.any():
        right = rng.random((n, runs)) < column["right"]
        dropped = rng.random((n, runs)) < np.where(right, column["lost"], column["caught"])
        end = np.where(right, column["until_right"], column["until_wrong"])
        took = np.where(dropped, column["until_look"], end) + column["looking"]
        total += still * (took + (0 if first else column["restart"]))
        still &= dropped | ~right
        first = False
    closed = np.array([RobotRestart(**{name: float(drawn[name][i]) for name in NUMBERS}).dropping for i in range(n)])
    z = (total.mean(axis=1) - closed) / (total.std(axis=1) / np.sqrt(runs))
    assert np.abs(z).max() < 4
    assert 0.8 < np.sqrt((z**2).mean()) < 1.2


def simulated(given: RobotRestart, runs: int) -> tuple[float, float]:
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
    RobotRestart(right=0.6, caught=0.7, lost=0.1, until_right=10, until_wrong=20, until_look=4, restart=1),
    RobotRestart(right=0.9, caught=0.5, lost=0.3, until_right=10, until_wrong=12, until_look=6, restart=3),
    RobotRestart(right=0.2, caught=0.95, lost=0.5, until_right=100, until_wrong=300, until_look=20),
]


@pytest.mark.parametrize("case", CASES)
def test_the_closed_form_is_what_a_simulation_finds(case: RobotRestart) -> None:
    mean, error = simulated(case, 100_000)
    assert case.dropping == pytest.approx(mean, abs=4 * error)
    alone = RobotRestart(**{**vars(case), "caught": 0.0, "lost": 0.0})
    mean, error = simulated(alone, 100_000)
    assert case.waiting == pytest.approx(alone.dropping)
    assert case.waiting == pytest.approx(mean, abs=4 * error)


@given(rates, rates, rates, spans, spans, spans, st.floats(0, 100))
def test_below_the_affordable_rate_dropping_is_quicker_and_above_it_slower(
    right: float, caught: float, lost: float, good: float, bad: float, look: float, restart: float
) -> None:
    some = RobotRestart(
        right=right, caught=caught, lost=lost, until_right=good, until_wrong=bad, until_look=look, restart=restart
    )
    line = some.affordable
    if 0.001 < line < 0.999:
        at = RobotRestart(**{**vars(some), "lost": line})
        assert at.dropping == pytest.approx(at.waiting, rel=1e-6)
    if abs(lost - line) > 1e-6:
        assert (some.dropping < some.waiting) == (lost < line)


def test_a_predictor_that_never_fires_changes_nothing_and_one_that_always_does_never_ends() -> None:
    never = RobotRestart(right=0.5, caught=0, lost=0, until_right=10, until_wrong=20, until_look=5, restart=2)
    assert never.dropping == never.waiting == 10 + 22
    assert RobotRestart(**{**vars(never), "caught": 1, "lost": 1}).dropping == float("inf")
    assert RobotRestart(**{**vars(never), "right": 0}).waiting == float("inf")


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
    assert good.measured.right == pytest.approx(0.6, abs=0.05)
    line = good.measured.affordable
    assert advise(*chains(40, line)).verdict == "undecided"
    assert "Give up chains that look wrong" in str(good)
    assert "Do not give up" in str(bad)


def test_what_cannot_be_advised_on_is_refused() -> None:
    with pytest.raises(BadInput, match="lists of one length"):
        advise([1, 0], [0], [5, 5], [1, 1])
    with pytest.raises(BadInput, match="right chains and wrong ones"):
        advise([1, 1], [0, 1], [5, 5], [1, 1])
    with pytest.raises(BadInput, match="right must be a number"):
        RobotRestart(**{**vars(CASES[0]), "right": 1.5})


def test_the_measured_times_are_the_closed_form_where_times_do_not_depend_on_the_predictor() -> None:
    right, said, length, at = chains(200_000, 0.2, seed=1)
    spent = np.where(said, at, length) + 3.0
    found = times(right.astype(float), said.astype(float), length, spent, 10.0)
    measured = advise(right[:5000], said[:5000], length[:5000], at[:5000], looking=3.0, restart=10.0).measured
    exact = RobotRestart(
        right=0.6, caught=0.8, lost=0.2, until_right=200, until_wrong=400, until_look=50, looking=3, restart=10
    )
    assert found == pytest.approx((exact.waiting, exact.dropping), rel=0.01)
    assert measured.dropping == pytest.approx(exact.dropping, rel=0.06)
    assert measured.looking == 3


def attempts() -> list[Attempt]:
    """Right chains are sure at the second cue, wrong ones are not, and some end before it."""
    return [
        Attempt(
            problem=str(i), right=i % 3 > 0, length=300 if i % 3 else 500, at=(40, 90)[: 1 if i % 10 == 1 else 2],
            confident=(0.5, 0.9 if i % 3 else 0.4)[: 1 if i % 10 == 1 else 2],
            looking=(6, 6)[: 1 if i % 10 == 1 else 2],
        )
        for i in range(60)
    ]  # fmt: skip


def test_the_predictor_that_saves_most_is_chosen_and_chains_that_end_before_the_look_are_not_flagged() -> None:
    chosen = choose(attempts())
    assert chosen == Predictor(cue=2, below=0.5)
    right, said, length, _, look = columns(attempts(), chosen)
    assert not (right * said).any()
    ended = [i for i in range(60) if i % 10 == 1]
    assert not said[ended].any()
    assert not look[ended].any()
    assert length[ended].tolist() == [300 if i % 3 else 500 for i in ended]
    assert str(chosen) == "at cue 2, confidence of the trial answer below 0.5"
