"""Dr. GRPO: no standard deviation, one constant for all lengths."""

import numpy as np
import pytest

from satisfice.methods.shaping import DrGrpo
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
