"""Rollouts that go on: what is expected after their last token, and which tokens each loss counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from satisfice.core.steering import Segmented
from satisfice.methods.shaping._gae import generalised_advantage
from satisfice.methods.shaping.t_ppo import SquaredValueError, TPpo, extended_advantage
from satisfice.testing import rollouts

VALUE = [[0.2, 0.5, 0.4, 0.6]]
FULL = np.ones((1, 4))


def test_worked_example_of_a_rollout_that_goes_on() -> None:
    found = extended_advantage(np.zeros((1, 4)), VALUE, FULL, [0])
    assert found[0] == pytest.approx([0.3855, 0.09, 0.2, 0.0], abs=1e-4)


def test_worked_example_of_one_that_has_ended() -> None:
    assert extended_advantage([[0, 0, 0, 1]], VALUE, FULL, [1])[0] == pytest.approx([0.72845, 0.4510, 0.58, 0.4])


def test_expecting_nothing_after_the_last_token_would_punish_every_long_chain() -> None:
    wrong = generalised_advantage(np.zeros((1, 4)), VALUE, FULL, lam=0.95)
    assert wrong[0] == pytest.approx([-0.1289, -0.4515, -0.37, -0.6], abs=1e-4)
    assert (extended_advantage(np.zeros((1, 4)), VALUE, FULL, [0]) > wrong).all()


@given(arrays(float, (3, 6), elements=st.floats(-1, 1)), st.floats(0.5, 1), st.floats(0, 1))
def test_where_everything_has_ended_it_is_the_ordinary_estimate(value: np.ndarray, gamma: float, lam: float) -> None:
    mask = np.arange(6) < np.array([6, 3, 1])[:, None]
    reward = np.eye(3, 6)
    one = extended_advantage(reward, value, mask, [1, 1, 1], gamma=gamma, lam=lam)
    assert one == pytest.approx(generalised_advantage(reward, value, mask, gamma=gamma, lam=lam))


def batch(**changes: object):  # type: ignore[no-untyped-def]
    columns = {
        "finished": [1, 0], "first_new": [2, 0], "mask": np.ones((2, 4)), "value": np.zeros((2, 4)), **changes,
    }  # fmt: skip
    return rollouts([1, 0], [4, 4], **columns)  # type: ignore[arg-type]


def test_a_value_head_that_knows_nothing_teaches_through_ended_rollouts_alone() -> None:
    shaped = TPpo(lam=1.0)(batch())
    assert shaped.advantage.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]


def test_the_policy_learns_from_what_is_new_and_the_value_head_from_what_has_ended() -> None:
    shaper = TPpo()
    shaped, zero = shaper(batch(value=np.full((2, 4), 0.5))), np.zeros((2, 4))
    assert (shaped.weight > 0).tolist() == [[False, False, True, True], [True] * 4]  # type: ignore[operator]
    assert (shaped.columns["value_weight"] > 0).tolist() == [[True] * 4, [False] * 4]
    assert shaped.columns["value_target"][0].tolist() == [1] * 4
    assert shaped.metrics["value_error"] == 0.25
    # Both are means over the tokens that they count, six and four of the eight.
    mean = -shaped.advantage[shaped.weight > 0].sum() / 6  # type: ignore[operator]
    assert shaper.loss.policy_loss(shaped, zero, zero, np.ones((2, 4))) == pytest.approx(mean)
    assert (shaper.loss.share(np.ones((2, 4))) * shaped.columns["value_weight"]).sum() == pytest.approx(1)


def test_a_right_answer_counts_once_it_is_there() -> None:
    shaped = TPpo()(batch(finished=[0, 0]))
    assert not shaped.reward.any()
    assert not shaped.columns["value_weight"].any()


def test_what_is_to_come_is_discounted_by_the_tokens_until_then() -> None:
    shaped = TPpo(gamma=0.5)(batch(mask=[[1, 1, 1, 0], [1, 1, 1, 1]]))
    assert shaped.columns["value_target"][0].tolist() == [0.25, 0.5, 1, 0]


def test_it_says_how_its_rollouts_grow() -> None:
    shaper = TPpo(window=64)
    assert isinstance(shaper, Segmented)
    assert (shaper.segment, shaper.whole_groups) == (64, False)
    assert shaper.loss.terms == (SquaredValueError(weight=0.5),)
