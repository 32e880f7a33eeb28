"""RLOO: each rollout against the mean of the others."""

import numpy as np
import pytest

from satisfice.methods.shaping.rloo import Rloo
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


def test_sources_differ_in_the_loss() -> None:
    batch, logprob = rollouts([1, 0], [2, 3]), np.array([[-1.0, -2.0, 0], [-1.0, -1.0, -4.0]])
    mask = np.array([[1, 1, 0], [1, 1, 1]])
    shaped = Rloo()(batch)
    assert Rloo().loss.policy_loss(shaped, logprob, logprob, mask) == pytest.approx((-2 + 3) / 5)
    assert Rloo(form="paper").loss.policy_loss(shaped, logprob, logprob, mask) == pytest.approx((3 - 6) / 2)
    new = logprob + np.array([[0.5], [-0.5]])
    clipped = (-1.2 + 0.8) / 2  # each rollout's ratio, clipped as one
    assert Rloo(form="trl").loss.policy_loss(shaped, new, logprob, mask) == pytest.approx(clipped)
