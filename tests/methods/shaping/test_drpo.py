"""DRPO: brevity shared out among the right rollouts alone."""

import numpy as np
import pytest

from satisfice.core.loss_term import PolicyLoss, Tokens
from satisfice.core.rollouts import LOGPROB, MASK
from satisfice.methods.shaping.drpo import Drpo, TrustRegion, objective, softmax_within
from satisfice.testing import random_rollouts, rollouts

SCORES = np.array([-0.5, -0.6, -0.7, -0.9])
LENGTHS = [1000, 4000, 3000, 8000]


def batch_of(correct: list[int], **columns: object) -> object:
    logprob = np.repeat(SCORES[: len(correct), None], 3, axis=1)
    return rollouts(correct, LENGTHS[: len(correct)], logprob=logprob, mask=np.ones_like(logprob), **columns)


@pytest.mark.parametrize(("lam", "expected"), [(0.1, [0.9750, 0.0250]), (0.5, [0.6753, 0.3247]), (1, [0.5905, 0.4095])])
def test_worked_example_of_the_right_side(lam: float, expected: list[float]) -> None:
    shaped = Drpo(lam=lam)(batch_of([1, 1, 0, 0]))
    assert shaped.advantage[:2] / 4 == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("tau", "expected"), [(10, [0.5050, 0.4950]), (1, [0.5498, 0.4502])])
def test_worked_example_of_the_wrong_side(tau: float, expected: list[float]) -> None:
    shaped = Drpo(tau=tau)(batch_of([1, 1, 0, 0]))
    assert -shaped.advantage[2:] / 4 == pytest.approx(expected, abs=1e-4)


def trust_loss(divergence: float) -> float:
    """Return what the term adds where every token has log p_old - log p_new = K."""
    one = np.ones((2, 3))
    part = Tokens(
        logprob=-divergence * one, old_logprob=0 * one, mask=one, advantage=one, share=one, plain_share=one / 6
    )
    policy = PolicyLoss(each=0 * one, change=part.logprob, clipped=one < 0)
    return float(Drpo().loss.terms[0](part, policy).total)


def test_worked_example_of_the_objective_and_of_the_trust_region() -> None:
    value = objective(batch_of([1, 1, 0, 0]), SCORES, lam=0.1, tau=10, capacity=8192)
    assert value == pytest.approx(0.2970, abs=1e-4)
    assert [trust_loss(k) for k in (3e-4, 1e-4, -1.0)] == pytest.approx([6e-5, 0, 0])


def test_the_advantages_are_the_gradient_of_the_objective() -> None:
    batch = random_rollouts(7, groups=5, size=6, columns=(LOGPROB, MASK))
    mask = batch["mask"]
    scores = np.where(mask, batch["logprob"], 0).sum(1) / mask.sum(1)

    def j(values: np.ndarray) -> float:
        return objective(batch, values, lam=0.3, tau=2.0, capacity=9000)

    gradient = [(j(scores + step) - j(scores - step)) / 2e-6 for step in 1e-6 * np.eye(len(batch))]
    shaped = Drpo(lam=0.3, tau=2.0, capacity=9000)(batch)
    assert shaped.advantage / len(batch) == pytest.approx(gradient, abs=1e-6)
    assert Drpo().loss.share(mask).sum(1) == pytest.approx(1 / len(batch))


def test_no_right_rollout_is_pushed_down() -> None:
    batch = random_rollouts(8, columns=(LOGPROB, MASK))
    assert (Drpo()(batch).advantage[batch.correct] >= 0).all()
    assert (Drpo()(batch).advantage[~batch.correct] <= 0).all()


@pytest.mark.parametrize("correct", [[1, 1, 1], [0, 0, 0], [1]])
def test_groups_without_two_sides_add_nothing_and_stay_in_the_denominator(correct: list[int]) -> None:
    shaped = Drpo()(batch_of(correct))
    assert not shaped.advantage.any()
    assert shaped.keep.all()


def test_a_single_right_rollout_feels_no_length_and_a_cut_one_is_wrong() -> None:
    assert Drpo()(batch_of([1, 0, 0])).advantage[0] == pytest.approx(3)
    cut = Drpo()(batch_of([1, 1, 0], truncated=[0, 1, 0]))
    assert (cut.advantage[0], cut.advantage[1] < 0) == (pytest.approx(3), True)


def test_extreme_temperatures() -> None:
    batch = batch_of([1, 1, 0, 0])
    assert Drpo(lam=1e9)(batch).advantage[:2] / 4 == pytest.approx([0.5, 0.5])
    assert Drpo(lam=1e-6)(batch).advantage[:2] / 4 == pytest.approx([1, 0])
    assert softmax_within(batch, np.zeros(4), np.zeros(4, bool)).tolist() == [0] * 4


def test_the_loss_has_no_ratio_and_asks_for_current_log_probs() -> None:
    loss = Drpo().loss
    assert (loss.ratio, loss.aggregation, loss.refresh) == ("none", "sequence", True)
    assert loss.terms == (TrustRegion(radius=1e-4, weight=1000.0),)
