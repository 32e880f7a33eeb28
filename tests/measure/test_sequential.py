"""Intervals that hold at all times: coverage under constant looking, what they cost, and comparisons that stop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.measure.intervals import bounded_mean
from satisfice.measure.sequential import always_bounded_mean, always_ratio, problems_needed, wealth
from satisfice.measure.statistics import is_decided, paired

LOOKS = (50, 75, 100, 150, 200, 300, 400, 600, 800)


def differences(share_gained: float, share_lost: float, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice([0.0, 1.0, -1.0], n, p=[1 - share_gained - share_lost, share_gained, share_lost])


def test_a_false_null_is_refuted_at_some_look_no_more_often_than_stated() -> None:
    """400 sequences at the edge of the null, each looked at 9 times: at most 2.5 % may be wrong, give or take."""
    rng = np.random.default_rng(0)
    for gained, lost, m in ((0.01, 0.03, -0.02), (0.0, 0.02, -0.02), (0.2, 0.2, 0.0)):
        wrong = 0
        for _ in range(400):
            values = differences(gained, lost, LOOKS[-1], rng)
            wrong += any(wealth(values[:n], m, -1) >= np.log(40) for n in LOOKS)
        assert wrong <= 20, (gained, lost, m)


def test_looking_often_with_intervals_for_one_look_is_wrong_more_often() -> None:
    rng = np.random.default_rng(1)
    once = always = 0
    for _ in range(30):
        values = differences(0.15, 0.15, LOOKS[-1], rng)
        looks = [values[:n] for n in LOOKS]
        once += any(not _holds(bounded_mean(v, np.ones_like(v), -1, 1)) for v in looks)
        always += any(not _holds(always_bounded_mean(v, np.ones_like(v), -1, 1)) for v in looks)
    assert always <= 3
    assert once > always


def _holds(found: object) -> bool:
    return bool(found.low <= 0 <= found.high)  # type: ignore[attr-defined]


def test_the_interval_of_a_saving_holds_at_all_looks() -> None:
    """Log-normal lengths, a true saving of 30 %: 300 sequences, 5 % may leave the interval at some look."""
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(300):
        theirs = rng.lognormal(5, 0.5, LOOKS[-1])
        ours = theirs * rng.uniform(0.4, 1.0, LOOKS[-1])
        found = [always_ratio(ours[:n], theirs[:n]) for n in LOOKS]
        wrong += any(not one.low <= 0.7 <= one.high for one in found)
    assert wrong <= 24


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60))
def test_bounds_hold_the_mean_do_not_depend_on_order_and_mirror(values: list[float]) -> None:
    x, ones = np.array(values), np.ones(len(values))
    found = always_bounded_mean(x, ones, -1, 1)
    assert found.low <= found.value <= found.high
    assert always_bounded_mean(x[::-1], ones, -1, 1) == found
    turned = always_bounded_mean(-x, ones, -1, 1)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_the_number_of_problems_that_is_told_beforehand_is_what_it_takes() -> None:
    same = problems_needed(0.02)
    assert always_bounded_mean(np.zeros(same), np.ones(same), -1, 1).low > -0.02
    assert always_bounded_mean(np.zeros(same - 1), np.ones(same - 1), -1, 1).low <= -0.02
    rng, took = np.random.default_rng(3), []
    for _ in range(40):
        values = differences(0.02, 0.02, 3_000, rng)
        took.append(next((n for n in range(50, 3_000, 50) if wealth(values[:n], -0.02, -1) >= np.log(40)), 3_000))
    assert np.median(took) == pytest.approx(problems_needed(0.02, differ=0.04), rel=0.3)
    assert problems_needed(0.02, differ=0.04, change=-0.02) == 100_000  # never, at the margin itself


def test_edges() -> None:
    nothing = np.zeros(0)
    assert always_bounded_mean(nothing, nothing, -1, 1).value is None
    assert always_ratio(nothing, nothing).value is None
    assert always_ratio(np.array([5.0]), np.array([10.0])).low is None
    assert always_bounded_mean(np.ones(3), np.ones(3), -1, 1).high == pytest.approx(1)
    few = always_ratio(np.array([1.0, 900.0]), np.array([800.0, 2.0]))
    assert (few.value, few.low) == (pytest.approx(901 / 802), None)


def cell(verdicts: list[str], spent: int) -> dict[tuple[str, int], dict[str, object]]:
    return {
        (str(i), 0): {"problem": str(i), "verdict": v, "spent": spent, "error": "", "seed": 0}
        for i, v in enumerate(verdicts)
    }


@pytest.mark.parametrize(
    ("wrong", "spent", "n", "verdict", "decided"),
    [
        (0, 60, 300, "saves", True), (0, 60, 200, "no claim", False), (0, 100, 300, "no saving", True),
        (60, 60, 300, "worse", True), (0, 60, 49, "no claim", False), (6, 60, 300, "no claim", False),
    ],
)  # fmt: skip
def test_a_comparison_is_decided_once_its_verdict_is_certain(
    wrong: int, spent: int, n: int, verdict: str, decided: bool
) -> None:
    row = paired(cell(["wrong"] * wrong + ["right"] * (n - wrong), spent), cell(["right"] * n, 100), always=True)
    assert (row["verdict"], is_decided(row)) == (verdict, decided)


def test_a_loss_that_is_shown_but_may_be_within_the_margin_is_not_decided() -> None:
    n, lost = 600, 12
    row = paired(cell(["wrong"] * lost + ["right"] * (n - lost), 60), cell(["right"] * n, 100), always=True)
    assert (row["verdict"], is_decided(row)) == ("worse", False)  # below 0, and perhaps above -2 points
