"""Where to cut rollouts: the weights by brute force, the best schedule, and real confidence intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.measure.truncation import alive, step_weights, width_factor


@given(st.floats(0.3, 1.0), st.integers(1, 12))
def test_the_weights_are_those_of_a_sum_over_pairs_of_steps(gamma: float, steps: int) -> None:
    """The squared width is a sum over pairs of steps, whose trajectories are those of the later one."""
    pairs = np.array([[gamma ** (s + t) for s in range(steps)] for t in range(steps)])
    brute = [pairs[t, t] + 2 * pairs[t, t + 1 :].sum() for t in range(steps)]
    assert step_weights(gamma, steps) == pytest.approx(brute, rel=1e-6, abs=1e-9)


@given(st.floats(0.5, 1.0), st.integers(1, 12), st.floats(1, 50))
def test_no_other_schedule_is_narrower(gamma: float, steps: int, times: float) -> None:
    budget = times * steps
    best = alive(gamma, steps, budget)
    assert best.sum() == pytest.approx(budget)
    assert (best >= 1 - 1e-9).all()
    assert (np.diff(best) <= 1e-9).all()  # a trajectory that is over does not come back
    width = width_factor(gamma, steps, best)
    assert width <= width_factor(gamma, steps, np.full(steps, times)) + 1e-12
    rng = np.random.default_rng(0)
    for _ in range(5):
        other = 1 + rng.dirichlet(np.ones(steps)) * (budget - steps)
        assert width <= width_factor(gamma, steps, np.maximum(other, 1)) + 1e-9


def test_the_gap_grows_as_gamma_falls() -> None:
    gains = [
        width_factor(g, 20, alive(g, 20, 2000)) / width_factor(g, 20, np.full(20, 100.0)) for g in (0.99, 0.9, 0.7)
    ]
    assert gains == sorted(gains, reverse=True)


def test_on_a_markov_reward_process_the_estimate_is_tighter_and_unbiased() -> None:
    """Rewards of a two-state chain: 600 estimates each, with the same 400 steps."""
    gamma, steps, rng = 0.8, 10, np.random.default_rng(3)
    found = {}
    for name, numbers in (("equal", np.full(steps, 40)), ("cut", np.round(alive(gamma, steps, 400)).astype(int))):
        state = rng.random((600, numbers[0])) < 0.5
        total = np.zeros(600)
        for t in range(steps):
            flip = rng.random(state.shape) < 0.3
            state = state ^ flip
            total += gamma**t * state[:, : numbers[t]].mean(axis=1)
        found[name] = total
    truth = 0.5 * (1 - gamma**steps) / (1 - gamma)
    assert found["cut"].mean() == pytest.approx(truth, abs=4 * found["cut"].std() / np.sqrt(600))
    assert found["cut"].std() < 0.92 * found["equal"].std()


def test_edges() -> None:
    assert alive(0.9, 4, 4).tolist() == [1, 1, 1, 1]
    with pytest.raises(BadInput, match="less than one whole trajectory of 5"):
        alive(0.9, 5, 4)
    with pytest.raises(BadInput, match="gamma must be above 0"):
        step_weights(0, 3)
