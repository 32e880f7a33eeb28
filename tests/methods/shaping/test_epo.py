"""EPO: entropy in a corridor around its history."""

import numpy as np
import pytest

from satisfice.core.shaper import advance
from satisfice.methods.shaping.epo import Epo, code_phase, corridor, phase, shares
from satisfice.methods.shaping.grpo import Grpo
from satisfice.testing import rollouts

H = np.array([[0.2, 0.9, 1.1, 0.05]])
BATCH = rollouts([1], [4], entropy=H, mask=np.ones((1, 4)), segment=np.zeros((1, 4)))
STATE = {"step": 37, "entropy": 0.5}


def test_worked_example() -> None:
    assert corridor(H, 0.5)[0] == pytest.approx([0, 0, 0.1, 0], abs=1e-9)
    assert [phase(k, 150) for k in (0, 37, 75, 150)] == pytest.approx([2.0, 1.2276, 1.0498, 1.0025], abs=1e-4)
    shaped = Epo(alpha=0.1, total_steps=150)(BATCH, STATE)
    assert shaped.metrics["entropy_term"] == pytest.approx(-0.000559, abs=1e-6)


def test_worked_example_of_the_released_code() -> None:
    assert 0.1 * corridor(H, 0.5, form="code")[0] == pytest.approx([0, 0, 0.1, 0], abs=1e-9)
    assert code_phase(37, 150) == pytest.approx(0.8746, abs=1e-4)
    shaped = Epo(alpha=0.1, total_steps=150, form="code")(BATCH, STATE)
    assert shaped.metrics["entropy_term"] == pytest.approx(-0.000541, abs=1e-6)


def test_the_weights_are_the_gradient_of_the_term_and_the_codes_constant_has_none() -> None:
    shaper = Epo(alpha=0.1, total_steps=150)

    def term(entropy: np.ndarray) -> float:
        batch = rollouts([1], [4], entropy=entropy, mask=np.ones((1, 4)), segment=np.array([[0, 0, 0, 1]]))
        return shaper(batch, STATE).metrics["entropy_term"]

    batch = rollouts([1], [4], entropy=H, mask=np.ones((1, 4)), segment=np.array([[0, 0, 0, 1]]))
    weight = shaper(batch, STATE).entropy_weight
    assert weight is not None
    steps = 1e-6 * np.eye(4)[:, None, :]
    gradient = [(term(H + step) - term(H - step)) / 2e-6 for step in steps]
    evenly = shaper.loss.share(batch["mask"])
    assert -0.001 * (weight * evenly)[0] == pytest.approx(gradient, abs=1e-8)
    plain = Epo(form="code")(BATCH, STATE).entropy_weight
    assert plain is not None
    assert plain == pytest.approx(np.ones((1, 4)))


def test_a_mean_over_turns_then_rollouts() -> None:
    batch = rollouts([1, 1], mask=np.array([[1, 1, 1], [1, 0, 0]]), segment=np.array([[0, 0, 1], [0, 0, 0]]))
    assert shares(batch) == pytest.approx(np.array([[0.125, 0.125, 0.25], [0.5, 0, 0]]))


def test_the_history_is_the_mean_of_all_steps_before() -> None:
    state = advance(Epo(), {"step": 2, "entropy": 0.9}, BATCH)
    assert state == {"step": 3, "entropy": pytest.approx((2 * 0.9 + 0.5625) / 3)}


def test_advantages_are_left_alone() -> None:
    two = rollouts([1, 0], entropy=np.ones((2, 2)), mask=np.ones((2, 2)), segment=np.zeros((2, 2)))
    assert np.array_equal(Epo()(two).advantage, Grpo()(two).advantage)
