import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from satisfice.measure.intervals import bootstrapped_ratio, bounded_mean, weighted_bounds


@functools.cache
def difference(gained, lost, n):
    """The interval of a paired difference of which `gained` and `lost` of `n` problems are all that differs."""
    found = bounded_mean(np.repeat([1.0, -1.0, 0.0], [gained, lost, n - gained - lost]), np.ones(n), -1, 1)
    return found.low, found.high


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_one_answer_per_question_gives_clopper_and_pearsons_bounds(drawn):
    n, right = drawn
    found = bounded_mean(np.repeat([1.0, 0.0], [right, n - right]), np.ones(n), 0, 1)
    exact = binomtest(right, n).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert found.value == pytest.approx(right / n)


@pytest.mark.parametrize("n", [1, 10, 183, 2000])
def test_where_nothing_differs_the_bound_is_that_of_no_losses(n):
    low, high = difference(0, 0, n)
    assert high == pytest.approx(binomtest(0, n).proportion_ci(0.95).high)
    assert low == pytest.approx(-high)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_bounds_hold_the_estimate_have_a_width_and_stay_in_range(drawn):
    below = np.array([seeds for seeds, _ in drawn], dtype=float)
    above = np.array([min(right, seeds) for seeds, right in drawn], dtype=float)
    found = bounded_mean(above, below, 0, 1)
    assert 0 <= found.low <= found.value <= found.high <= 1 + 1e-12
    assert found.high > found.low
    mirrored = bounded_mean(below - above, below, 0, 1)  # the wrong ones
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low), abs=0.03)


@pytest.mark.parametrize(
    ("n", "gained", "lost"),
    [(50, 0.01, 0.01), (50, 0.1, 0.1), (100, 0.0, 0.02), (200, 0.0, 0.02), (200, 0.002, 0.002), (200, 0.01, 0.03),
     (400, 0.03, 0.05), (400, 0.1, 0.02)],
)  # fmt: skip
def test_the_interval_of_a_difference_covers_at_least_95_of_100(n, gained, lost):
    runs = np.random.default_rng(7).multinomial(n, [gained, lost, 1 - gained - lost], size=1500)
    spans = np.array([difference(int(g), int(w), n) for g, w, _ in runs])
    truth = gained - lost
    assert ((spans[:, 0] <= truth) & (truth <= spans[:, 1])).mean() >= 0.95 - 0.01  # 1,500 runs: half a point of noise
    assert (truth < spans[:, 0]).mean() <= 0.025 + 0.01
    assert (truth > spans[:, 1]).mean() <= 0.025 + 0.01


def test_a_bootstrap_in_its_place_would_promise_too_much():
    # The reason for the exact bound: half of the runs with a true loss of 0.4 % show no loss at all, and a resampling
    # of nothing has no width.
    runs = np.random.default_rng(7).binomial(200, 0.004, size=400)
    covered = {}
    for lost in np.unique(runs):
        found = bootstrapped_ratio(np.repeat([-1.0, 0.0], [lost, 200 - lost]), np.ones(200))
        covered[lost] = found.low <= -0.004 <= found.high
    assert np.mean([covered[lost] for lost in runs]) < 0.6
    assert np.mean([difference(0, int(lost), 200)[0] <= -0.004 for lost in runs]) >= 0.975


def test_seeds_of_one_question_are_covered_too():
    # 40 questions of different difficulty, 4 seeds each: the mean accuracy over questions like these is 2/3.
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        right = rng.binomial(4, rng.beta(2, 1, size=40))
        found = bounded_mean(right.astype(float), np.full(40, 4.0), 0, 1)
        covered += found.low <= 2 / 3 <= found.high
    assert covered / 300 >= 0.93


def test_the_interval_of_a_saving_covers_about_95_of_100_from_fifty_problems_on():
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(120):
        full = rng.lognormal(5, 0.8, size=50)
        spent = full * rng.beta(4, 2, size=50)  # a saving of a third
        found = bootstrapped_ratio(spent, full)
        covered += found.low <= 2 / 3 <= found.high
    assert covered / 120 >= 0.89


def test_equal_rows_share_a_weight_without_changing_the_bounds():
    rows = np.repeat([[1.0, 1.0], [0.0, 1.0], [-1.0, 1.0]], [30, 150, 20], axis=0)
    apart = rows + np.c_[np.zeros(200), np.arange(200) * 1e-12]  # told apart by a hair: one weight each
    ends = {"worst": np.array([-1.0, 1.0]), "best": np.array([1.0, 1.0])}
    same, own = (weighted_bounds(some, lambda s: s[..., 0] / s[..., 1], **ends) for some in (rows, apart))
    assert same == pytest.approx(own, abs=2e-3)
