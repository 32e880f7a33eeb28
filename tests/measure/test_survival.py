"""Survival of chains that a limit cuts, and the loss of a hazard."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.measure.survival import hazard_loss, survival


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_without_censoring_it_is_the_share_that_is_longer_and_the_mean_of_what_is_left(lengths: list[int]) -> None:
    found, x = survival(lengths, [False] * len(lengths)), np.array(lengths)
    for t in (0, 5, 20):
        assert found.at(t) == pytest.approx((x > t).mean())
        left = found.remaining(t)
        assert (left is None) == (not (x > t).any())
        if left is not None:
            assert left == pytest.approx((x[x > t] - t).mean())


def test_censoring_at_a_cap_is_put_right_where_leaving_out_or_counting_as_ended_is_wrong() -> None:
    """Exponential lengths of mean 100, each with a limit of its own: the mean up to 200 tokens is 86.5."""
    rng = np.random.default_rng(0)
    whole, limit = rng.exponential(100, 5_000), rng.uniform(20, 400, 5_000)
    cut, length = whole > limit, np.minimum(whole, limit)
    found = survival(length, cut)
    for t in (50.0, 100.0, 200.0):
        assert found.at(t) == pytest.approx(np.exp(-t / 100), abs=0.02)
    assert (length > 100).mean() < np.exp(-1) - 0.03  # counted as ended
    assert (length[~cut] > 100).mean() < np.exp(-1) - 0.05  # left out
    left = found.remaining(0)
    assert left is not None
    assert left == pytest.approx(100 * (1 - np.exp(-found.longest / 100)), rel=0.06)


def test_edges() -> None:
    all_cut = survival([64, 64, 64], [True] * 3)
    assert (all_cut.at(63), all_cut.remaining(0)) == (1.0, 64.0)
    assert all_cut.remaining(64) is None
    one = survival([10], [False])
    assert (one.at(9), one.at(10), one.remaining(4), one.remaining(10)) == (1.0, 0.0, 6.0, None)
    for bad in (([], []), ([1], []), ([-1], [False])):
        with pytest.raises(BadInput, match="survival: length and cut"):
            survival(*bad)


def test_the_loss_is_the_likelihood_of_what_happened_by_brute_force() -> None:
    rng = np.random.default_rng(1)
    h = rng.uniform(0.05, 0.6, (6, 4))
    last, ended = np.array([0, 1, 2, 3, 3, 1]), np.array([True, True, False, True, False, False])
    weight = rng.uniform(0.5, 2, 6)
    expected = 0.0
    for i in range(6):
        chance = 1.0
        for t in range(last[i]):
            chance *= 1 - h[i, t]
        chance *= h[i, last[i]] if ended[i] else 1 - h[i, last[i]]
        expected -= weight[i] * np.log(chance)
    assert hazard_loss(h, last, ended, weight) == pytest.approx(expected)


def test_a_constant_hazard_is_best_at_ends_over_steps_at_risk() -> None:
    rng = np.random.default_rng(2)
    last, ended = rng.integers(0, 10, 50), rng.random(50) < 0.6
    best = ended.sum() / (last + 1).sum()
    at = {h: hazard_loss(np.full((50, 10), h), last, ended) for h in (best, best - 0.01, best + 0.01)}
    assert min(at, key=at.__getitem__) == best
    with pytest.raises(BadInput, match="last a step from 0"):
        hazard_loss(np.full((2, 3), 0.1), [0, 3], [True, True])
