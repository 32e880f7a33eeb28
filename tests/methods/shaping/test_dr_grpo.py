"""Dr. GRPO: no standard deviation, one constant for all lengths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.methods.shaping.dr_grpo import DrGrpo
from satisfice.testing import random_rollouts, rollouts

G4 = rollouts(correct=[1, 1, 1, 0], length=[1000, 2000, 4000, 3000])


def test_worked_example() -> None:
    advantage = DrGrpo()(G4).advantage
    assert advantage == pytest.approx([0.25, 0.25, 0.25, -0.75], abs=1e-4)
    share = DrGrpo(constant=4096).loss.share(np.arange(4000) < G4.length[:, None])[:, 0]
    assert share * advantage * 1e4 == pytest.approx([0.1526, 0.1526, 0.1526, -0.4578], abs=1e-4)


def test_groups_without_a_difference_and_groups_of_one_give_0() -> None:
    assert not DrGrpo()(rollouts([1, 1, 0, 1], group=[0, 0, 1, 2])).advantage.any()


def test_rewards_scale_advantages_and_shift_nothing() -> None:
    batch = random_rollouts(3)
    moved = DrGrpo()(batch.rewarded(3 * batch.reward - 7)).advantage
    assert moved == pytest.approx(3 * DrGrpo()(batch).advantage)


def test_a_rollout_that_was_cut_earns_nothing_even_if_it_is_right() -> None:
    batch = rollouts([1, 0], [100, 90], truncated=[1, 0])
    assert DrGrpo()(batch).advantage.tolist() == [0, 0]
    assert DrGrpo(cut_pays=True)(batch).advantage.tolist() == [0.5, -0.5]


def test_a_charge_of_another_method_is_not_forgiven_by_being_cut() -> None:
    batch = rollouts([0, 0], [100, 50], truncated=[1, 0], reward=[-2, -1])
    assert DrGrpo()(batch).advantage.tolist() == [-0.5, 0.5]


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_it_is_the_released_actor_and_learner(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, size = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    correct, cut = rng.random((2, groups * size)) < 0.5
    reward = np.where(cut, 0.0, correct).reshape(groups, size)
    batch = rollouts(correct, group=np.repeat(np.arange(groups), size), truncated=cut)
    assert DrGrpo()(batch).advantage == pytest.approx((reward - reward.mean(1, keepdims=True)).reshape(-1))
