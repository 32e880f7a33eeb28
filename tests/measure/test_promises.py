"""Risk-controlled thresholds: the bound, the order of testing, what is refused, and that the promise is kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from satisfice.core.errors import BadInput
from satisfice.measure.promises import control_risk, lost_at, problems_needed, upper_bound


def test_worked_example_two_percent_with_five_percent_doubt_needs_149_problems() -> None:
    assert problems_needed(0.02, 0.05) == 149
    assert upper_bound(0, 149, 0.05) <= 0.02 < upper_bound(0, 148, 0.05)


@given(st.integers(1, 2000), st.data())
def test_the_bound_is_the_exact_binomial_one(n: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, n))
    bound = upper_bound(lost, n, 0.05)
    assert bound == pytest.approx(binomtest(lost, n, alternative="less").proportion_ci(0.95, "exact").high)
    if lost < n:
        assert binom.cdf(lost, n, bound) == pytest.approx(0.05, rel=1e-6)


def table(*counts: int, n: int = 400) -> list[list[bool]]:
    return [[True] * lost + [False] * (n - lost) for lost in counts]


def test_testing_goes_from_the_safest_on_and_ends_at_the_first_failure() -> None:
    found = control_risk([0.99, 0.95, 0.9, 0.8], table(0, 3, 4, 0))
    assert found.threshold == 0.95, "4 of 400 may be more than 2 %; what comes after is not even looked at"
    assert [(t.threshold, t.lost, t.passed) for t in found.tested] == [
        (0.99, 0, True),
        (0.95, 3, True),
        (0.9, 4, False),
    ]
    assert (
        str(found) == "threshold 0.95: loses at most 2.0% of the answers, with confidence 95% (3 of 400 problems lost)"
    )


def test_when_the_safest_fails_there_is_no_threshold() -> None:
    found = control_risk([0.99, 0.95], table(9, 0))
    assert found.threshold is None
    assert "no threshold: the safest loses 9 of 400" in str(found)


@pytest.mark.parametrize(
    ("n", "most", "doubt", "message"),
    [
        (148, 0.02, 0.05, "148 problems cannot support .* takes 149 even if none is lost"),
        (400, 0.0, 0.05, "most must lie between 0 and 1, got 0"),
        (400, 0.02, 1.0, "doubt must lie between 0 and 1, got 1"),
    ],
)
def test_what_cannot_be_promised_is_refused(n: int, most: float, doubt: float, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        control_risk([0.9], table(0, n=n), most=most, doubt=doubt)
    with pytest.raises(BadInput, match=r"lost must be \[2 thresholds, problems\], got \(1, 400\)"):
        control_risk([0.9, 0.8], table(0))


def test_a_rule_stops_at_its_first_score_above_the_threshold() -> None:
    scores = [[0.6, 0.95], [0.2], [], [0.95]]
    right = [[False, True], [True], [], [False]]
    lost = lost_at([0.95, 0.9, 0.5], scores, right, [True, True, True, False])
    assert lost.tolist() == [[False] * 4, [False] * 4, [True, False, False, False]], (
        "a score on the threshold is not above"
    )


def test_the_promise_is_kept_on_fresh_data() -> None:
    """Over 400 draws of 300 problems a false promise is as rare as said."""
    rng = np.random.default_rng(20261121)
    grid = [0.99, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6]

    def draw(problems: int) -> np.ndarray:
        ability = rng.beta(4, 1, size=(problems, 1))
        scores = np.clip(ability + rng.normal(0, 0.12, size=(problems, 5)), 0, 1)
        right = rng.random((problems, 5)) < np.clip(ability + 0.1, 0, 1)
        return lost_at(grid, list(scores), list(right), rng.random(problems) < 0.95)

    truth = dict(zip(grid, draw(40_000).mean(1), strict=True))
    assert max(truth.values()) > 0.05 > 0.02 > min(truth.values()), "both kinds of threshold are on the grid"
    chosen = [control_risk(grid, draw(300), most=0.05, doubt=0.1).threshold for _ in range(400)]
    false = sum(t is not None and truth[t] > 0.05 for t in chosen)
    assert binomtest(false, 400, 0.1, alternative="greater").pvalue > 0.001
    assert any(t is not None for t in chosen), "and it does promise something"
