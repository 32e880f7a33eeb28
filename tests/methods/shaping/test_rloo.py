"""RLOO: each rollout against the mean of the others."""

import pytest

from satisfice.methods.shaping import Rloo
from satisfice.testing import random_rollouts, rollouts


def test_worked_example() -> None:
    batch = rollouts(correct=[1, 1, 1, 0], length=[1000, 2000, 4000, 3000])
    assert Rloo()(batch).advantage == pytest.approx([0.3333, 0.3333, 0.3333, -1.0], abs=1e-4)


def test_it_is_the_reward_less_the_mean_of_the_others() -> None:
    batch = random_rollouts(1).rewarded(range(20))
    for rows in batch.groups:
        for row in rows:
            others = batch.reward[[other for other in rows if other != row]]
            assert Rloo()(batch).advantage[row] == pytest.approx(batch.reward[row] - others.mean())


def test_a_lone_rollout_gets_0_unless_told_otherwise() -> None:
    lone = rollouts(correct=[1])
    assert Rloo()(lone).advantage.tolist() == [0]
    assert Rloo(lone="reward")(lone).advantage.tolist() == [1]
