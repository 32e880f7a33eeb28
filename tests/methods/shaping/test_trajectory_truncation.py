"""Rollouts of different lengths: the allocation, its interval against equal lengths, and the estimate."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.methods.shaping.trajectory_truncation import (
    TrajectoryTruncation,
    allocation,
    estimated_return,
    half_width,
    lengths_of,
    relaxed_allocation,
    step_weights,
)
from satisfice.testing import rollouts


def test_worked_example() -> None:
    c = step_weights(5, 0.9)
    assert c == pytest.approx([7.1902, 4.7612, 2.9000, 1.4880, 0.4305], abs=1e-4)
    relaxed = relaxed_allocation(5, 0.9, 50)
    assert relaxed == pytest.approx([15.88, 12.92, 10.09, 7.22, 3.89], abs=5e-3)
    assert np.floor(relaxed).tolist() == [15, 12, 10, 7, 3]
    assert allocation(5, 0.9, 50).tolist() == [16, 13, 11, 7, 3]
    assert (c / 10).sum() == pytest.approx(1.6770, abs=1e-4)
    assert (c / relaxed).sum() == pytest.approx(1.4255, abs=1e-4)


def test_the_weights_are_what_the_ranges_of_the_trajectories_sum_to() -> None:
    # A rollout of length h moves the estimate by at most S_h = sum_{t<h} g^t / n_t: their squares are Hoeffding's sum.
    n, g = np.array([7, 5, 5, 2, 1]), 0.8
    ranges = [(g ** np.arange(h) / n[:h]).sum() for h in lengths_of(n)]
    assert (step_weights(5, g) / n).sum() == pytest.approx(np.square(ranges).sum())
    assert half_width(n, g, delta=0.1) == pytest.approx(math.sqrt(0.5 * math.log(20) * np.square(ranges).sum()))


@pytest.mark.parametrize(("horizon", "discount", "budget"), [(3, 0.7, 9), (4, 0.95, 11), (5, 0.5, 8), (4, 0.9, 4)])
def test_the_exact_allocation_is_the_best_there_is(horizon: int, discount: float, budget: int) -> None:
    options = itertools.combinations_with_replacement(range(budget, 0, -1), horizon)
    best = min(half_width(n, discount) for n in options if sum(n) == budget)
    assert half_width(allocation(horizon, discount, budget, "exact"), discount) == pytest.approx(best)


@given(st.integers(1, 30), st.floats(0.05, 0.99), st.integers(0, 300), st.sampled_from(["floor", "exact"]))
def test_an_allocation_spends_the_budget_and_never_rises(horizon: int, discount: float, more: int, how: str) -> None:
    n = allocation(horizon, discount, horizon + more, how)  # type: ignore[arg-type]
    assert n.sum() == horizon + more == lengths_of(n).sum()
    assert n.min() >= 1
    assert (np.diff(n) <= 0).all()
    relaxed = relaxed_allocation(horizon, discount, horizon + more)
    assert half_width(n, discount) >= half_width(relaxed, discount) - 1e-9


def test_it_is_narrower_than_equal_lengths_and_the_more_so_the_stronger_the_discount() -> None:
    gains = [half_width([10] * 20, g) / half_width(allocation(20, g, 200), g) for g in (0.99, 0.95, 0.9, 0.8)]
    assert gains == sorted(gains)
    assert gains[0] > 1
    assert gains == pytest.approx([1.068, 1.127, 1.232, 1.526], abs=1e-3)


def test_where_luck_lasts_a_whole_trajectory_the_estimate_varies_less_by_just_as_much_as_the_bound_says() -> None:
    rng, g, horizon, budget = np.random.default_rng(0), 0.8, 10, 40
    true = 0.5 * (1 - g**horizon) / (1 - g)

    def error(lengths: np.ndarray) -> tuple[float, float]:
        found = [estimated_return([np.full(h, rng.random() < 0.5) for h in lengths], g) for _ in range(2000)]
        return float(np.mean(found) - true), float(np.std(found))

    reached = allocation(horizon, g, budget)
    bias, spread = error(lengths_of(reached))
    equal_bias, equal_spread = error(np.full(budget // horizon, horizon))
    assert max(abs(bias), abs(equal_bias)) < 0.06  # neither is biased; three standard errors
    bound = half_width(reached, g) / half_width([budget // horizon] * horizon, g)
    assert bound < 0.85
    assert spread / equal_spread == pytest.approx(bound, rel=0.06)


def test_the_rollouts_of_a_prompt_get_the_lengths_of_the_allocation() -> None:
    shaper = TrajectoryTruncation(horizon=4, discount=0.8, budget=8, step=10)
    reached = allocation(4, 0.8, 8)
    assert (reached.tolist(), lengths_of(reached).tolist()) == ([4, 2, 1, 1], [4, 2, 1, 1])
    assert shaper.cap({}, ["a", "b", "a", "a", "a", "a", "b"]).tolist() == [40, 40, 20, 10, 10, 10, 20]


def test_a_step_is_compared_with_those_that_reach_it() -> None:
    mask = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    shaper = TrajectoryTruncation(horizon=3, discount=0.5, budget=6, step=1)
    shaped = shaper(rollouts([1, 1, 0], [3, 2, 1], mask=mask, token_reward=np.array([[1, 0, 4], [0, 2, 0], [0, 0, 0]])))
    assert shaped.reward.tolist() == [2, 1, 0]  # 1 + 4/4, 2/2
    assert shaped.advantage.tolist() == [[1, 0, 0], [0, 0, 0], [-1, 0, 0]]


@pytest.mark.parametrize("changes", [{"discount": 1}, {"discount": 0}, {"budget": 3}])
def test_where_its_premise_fails_it_says_so(changes: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="trajectory-truncation"):
        TrajectoryTruncation(**changes)  # type: ignore[arg-type]
