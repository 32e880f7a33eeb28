"""Kimi's length reward: the place between the shortest and the longest rollout of the group."""

import numpy as np
import pytest

from satisfice.core.errors import BadInput
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.kimi_length import KimiLength, rank_reward
from satisfice.methods.stopping.deer import Deer
from satisfice.testing import rollouts

G4 = rollouts(correct=[1, 1, 1, 0], length=[1000, 2000, 4000, 3000])


def test_worked_example() -> None:
    assert rank_reward(G4) == pytest.approx([0.5, 0.1667, -0.5, -0.1667], abs=1e-4)
    shaped = KimiLength(weight=1)(G4)
    assert shaped.reward == pytest.approx([1.5, 1.1667, 0.5, -0.1667], abs=1e-4)
    assert shaped.advantage == pytest.approx([1.0147, 0.5637, -0.3382, -1.2402], abs=1e-4)
    assert KimiLength(weight=0.4)(G4).reward == pytest.approx([1.2, 1.0667, 0.8, -0.0667], abs=1e-4)


def test_a_right_rollout_may_still_lose() -> None:
    assert KimiLength(weight=1)(G4).advantage[2] < 0


def test_a_wrong_rollout_is_never_paid_for_brevity() -> None:
    batch = rollouts(correct=[0, 0, 1], length=[1, 900, 1000])
    assert rank_reward(batch)[:2] == pytest.approx([0, -0.3999], abs=1e-4)


def test_equal_lengths_and_groups_of_one_get_nothing() -> None:
    assert rank_reward(rollouts([1, 0, 1], [5, 5, 9], group=[0, 0, 1])).tolist() == [0, 0, 0]


def test_weight_0_is_its_parent() -> None:
    assert np.array_equal(KimiLength(weight=0)(G4).advantage, Grpo()(G4).advantage)


@pytest.mark.parametrize("advantage", ["grpo", Deer(), None])
def test_the_advantage_must_be_a_shaper(advantage: object) -> None:
    with pytest.raises(BadInput, match="kimi-length: advantage must be"):
        KimiLength(advantage=advantage)
