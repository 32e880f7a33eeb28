"""The sigmoid length penalty among right rollouts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.shaper import reads
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.lp_sigmoid import LpSigmoid
from satisfice.methods.shaping.rloo import Rloo
from satisfice.testing import random_rollouts, rollouts

LENGTHS = [1000, 2000, 4000, 3000]
G4 = rollouts(correct=[1, 1, 1, 0], length=LENGTHS)


@pytest.mark.parametrize(
    ("alpha", "ddof", "expected"),
    [  # mu 2333.3333, population s 1247.2191, sample s 1527.5252
        (0.2, 0, [0.9489, 0.9133, 0.8416, 0]),
        (0.2, 1, [0.9411, 0.9109, 0.8503, 0]),
        (0.6, 0, [0.8466, 0.7399, 0.5249, 0]),
    ],
)
def test_worked_example(alpha: float, ddof: int, expected: list[float]) -> None:
    assert LpSigmoid(alpha=alpha, ddof=ddof)(G4).reward == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("alpha", "expected"), [(0.2, [0.6027, 0.5241, 0.3659, -1.4927]), (0.6, [0.8468, 0.5631, -0.0079, -1.4020])]
)
def test_worked_example_with_grpo_on_top(alpha: float, expected: list[float]) -> None:
    assert LpSigmoid(alpha=alpha, advantage=Grpo())(G4).advantage == pytest.approx(expected, abs=1e-4)


def test_a_group_that_is_all_right_is_driven_by_length_alone() -> None:
    shaped = LpSigmoid(alpha=0.2, advantage=Grpo())(rollouts([1, 1, 1, 1], LENGTHS))
    assert shaped.reward == pytest.approx([0.9586, 0.9220, 0.8414, 0.8780], abs=1e-4)
    assert shaped.advantage == pytest.approx([1.1465, 0.4307, -1.1465, -0.4307], abs=1e-4)


def test_one_right_rollout_or_equal_lengths_give_the_middle() -> None:
    assert LpSigmoid(alpha=0.4)(rollouts([0, 1, 0], [5, 900, 7])).reward.tolist() == [0, 0.8, 0]
    assert LpSigmoid(alpha=0.4, ddof=1)(rollouts([1, 1], [7, 7])).reward.tolist() == [0.8, 0.8]


def test_a_rollout_that_was_cut_counts_as_wrong_and_is_left_out_of_the_mean() -> None:
    cut = rollouts([1, 1, 1, 1], [*LENGTHS[:3], 9000], truncated=[0, 0, 0, 1])
    assert LpSigmoid(alpha=0.2)(cut).reward == pytest.approx([0.9489, 0.9133, 0.8416, 0], abs=1e-4)
    assert LpSigmoid(alpha=0.2, cut_is_wrong=False)(cut).reward[3] > 0.8


def test_lengths_in_other_units_change_nothing() -> None:
    batch = random_rollouts(2)
    scaled = rollouts(batch.correct, batch.length * 7 + 100, batch.group, truncated=batch.truncated)
    assert LpSigmoid()(scaled).reward == pytest.approx(LpSigmoid()(batch).reward, abs=1e-9)


def test_without_alpha_it_is_rloo() -> None:
    assert np.array_equal(LpSigmoid(alpha=0)(G4).advantage, Rloo()(G4).advantage)
    assert LpSigmoid().loss.kl == 0.001


def test_the_form_of_the_code_whitens_over_all_tokens() -> None:
    shaped = LpSigmoid(form="code")(G4)
    assert shaped.advantage == pytest.approx([0.737, 0.696, 0.613, -1.526], abs=1e-3)
    assert LpSigmoid().card.fidelity == "paper", "the default is not what the code trains with"


def test_the_loss_of_the_code_is_averaged_by_rollout_and_the_divergence_is_in_the_reward() -> None:
    loss = LpSigmoid(form="code").loss
    assert (loss.aggregation, loss.kl, loss.kl_kind, loss.kl_in) == ("sequence", 0.001, "k1", "reward")
    assert reads(LpSigmoid(form="code")) == {"logprob", "reference_logprob", "mask"}
    assert (LpSigmoid().loss.kl_in, reads(LpSigmoid())) == ("loss", frozenset())


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.floats(0, 2))
def test_the_form_of_the_code_is_the_released_trainer(seed: int, kl: float) -> None:
    """Written as its steps are: rewards at the last token, less the divergence of each; returns; one buffer."""
    rng = np.random.default_rng(seed)
    groups, size, width = int(rng.integers(1, 4)), int(rng.integers(2, 6)), 7
    n = groups * size
    length = rng.integers(1, width + 1, n)
    mask = np.arange(width) < length[:, None]
    logprob, reference = -rng.exponential(1, (2, n, width))
    batch = rollouts(
        rng.random(n) < 0.6, length, np.repeat(np.arange(groups), size), truncated=rng.random(n) < 0.2,
        mask=mask, logprob=logprob, reference_logprob=reference,
    )  # fmt: skip
    method = LpSigmoid(form="code", advantage=Rloo(kl=kl))
    paid = LpSigmoid(advantage=Rloo(kl=kl))(batch).reward.reshape(groups, size)
    baseline = (paid.sum(1, keepdims=True) - paid) / (size - 1)
    token_reward = -kl * (logprob - reference) * mask
    token_reward[np.arange(n), length - 1] += (paid - baseline).reshape(-1)
    returns = np.cumsum(token_reward[:, ::-1], axis=1)[:, ::-1]
    mean = returns[mask].mean()
    expected = (returns - mean) / np.sqrt(max(((returns[mask] - mean) ** 2).mean(), 1e-8))
    assert method(batch).advantage == pytest.approx(np.where(mask, expected, 0.0), abs=1e-6)
