"""GRPO: the group-relative advantage that most other methods stand on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.shaper import Loss
from satisfice.methods.shaping.grpo import Grpo
from satisfice.testing import rollouts

G4 = rollouts(correct=[1, 1, 1, 0], length=[1000, 2000, 4000, 3000])


@pytest.mark.parametrize(
    ("ddof", "expected"), [(1, [0.5, 0.5, 0.5, -1.5]), (0, [0.5773, 0.5773, 0.5773, -1.7320])]
)  # sample std 0.5, population std 0.4330
def test_worked_example(ddof: int, expected: list[float]) -> None:
    assert Grpo(ddof=ddof)(G4).advantage == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("sequence", [1.25, 0.625, 0.3125, -1.25]), ("token", [0.5, 0.5, 0.5, -1.5])],
)
def test_worked_example_of_the_weight_of_a_token(aggregation: str, expected: list[float]) -> None:
    mask = np.arange(4000) < G4.length[:, None]
    share = Grpo(aggregation=aggregation).loss.share(mask)[:, 0]
    assert share * Grpo()(G4).advantage * 1e4 == pytest.approx(expected, abs=1e-4)


def test_one_rollout_says_nothing_unless_told_so() -> None:
    lone = rollouts(correct=[1, 1, 0], group=["a", "b", "b"])
    assert Grpo()(lone).advantage[0] == 0
    assert Grpo(lone="reward")(lone).advantage == pytest.approx([1, 0.7071, -0.7071], abs=1e-4)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=8), st.floats(-50, 50))
def test_adding_a_constant_to_all_rewards_changes_nothing(rewards: list[float], shift: float) -> None:
    batch = rollouts(correct=np.zeros(len(rewards)), reward=rewards)
    moved = Grpo(eps=1e-3)(batch.rewarded(batch.reward + shift)).advantage
    assert moved == pytest.approx(Grpo(eps=1e-3)(batch).advantage, abs=1e-6)


def test_equal_rewards_give_exactly_nothing_to_learn() -> None:
    assert np.abs(Grpo()(rollouts([1] * 7, reward=[0.1] * 7)).advantage).max() < 1e-9


def test_the_loss_is_data() -> None:
    assert Grpo().loss == Loss(aggregation="sequence", kl=0.001)
    assert Grpo(kl=0, clip_high=0.28, aggregation="token").loss == Loss(clip_high=0.28)
