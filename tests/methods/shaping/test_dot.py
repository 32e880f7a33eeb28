"""Dynamic outlier truncation: what is cut, when nothing can be, and the term of the loss."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.loss_term import PolicyLoss, Tokens
from satisfice.methods.shaping.dot import Dot, KlCov, kl_cov_tokens, outlier_length
from satisfice.testing import rollouts

LENGTHS = [900] * 31 + [4000]
OUTLIER = rollouts([1] * 32, LENGTHS)


def test_worked_example_of_the_cut() -> None:
    groups = OUTLIER.groups
    assert (groups.mean(LENGTHS)[0], groups.std(LENGTHS, ddof=1)[0]) == pytest.approx((996.8750, 548.0078), abs=1e-4)
    assert Dot().cut(OUTLIER).tolist() == [900] * 31 + [2640]
    assert math.floor(outlier_length(OUTLIER, ddof=0)[0]) == 2615


def test_worked_example_of_what_the_cut_costs() -> None:
    shaped = Dot()(rollouts([1] * 31 + [0], Dot().cut(OUTLIER)))
    assert shaped.advantage[[0, 31]] == pytest.approx([0.1768, -5.4800], abs=1e-4)


def test_groups_without_a_difference_are_not_kept_but_groups_of_one_are() -> None:
    batch = rollouts([1, 1, 0, 0, 1, 0, 1], group=[0, 0, 1, 1, 2, 2, 3])
    assert Dot()(batch).keep.tolist() == [False, False, False, False, True, True, True]


@pytest.mark.parametrize(("size", "fires"), [(10, False), (11, True)])
def test_three_deviations_need_a_group_of_eleven(size: int, fires: bool) -> None:
    length = np.array([100] * (size - 1) + [100_000])
    assert (Dot().cut(rollouts([1] * size, length)) < length).any() == fires


def test_groups_with_a_wrong_rollout_and_small_excess_are_left_alone() -> None:
    assert Dot().cut(rollouts([0] + [1] * 31, LENGTHS)).tolist() == LENGTHS
    assert Dot(margin=1361).cut(OUTLIER).tolist() == LENGTHS
    assert Dot(margin=0.5).cut(OUTLIER).tolist() == LENGTHS  # half of 4000 is more than the excess of 1360


def test_the_tokens_of_highest_covariance_have_a_loss_without_clipping() -> None:
    advantage = np.array([[1.0], [-1.0]])
    logprob = np.array([[-0.1, -2.0, -9.0], [-0.1, -5.0, -0.2]])
    mask = np.array([[1, 1, 0], [1, 1, 1]], bool)
    chosen = kl_cov_tokens(advantage, logprob, mask, share=0.2)
    assert chosen.tolist() == [[False] * 3, [False, True, False]]
    assert kl_cov_tokens(advantage, logprob, np.zeros((2, 3), bool)).sum() == 0
    part = Tokens(logprob=logprob, old_logprob=logprob, mask=mask, advantage=advantage, share=mask, plain_share=mask)
    policy = PolicyLoss(each=np.zeros((2, 3)), change=np.full((2, 3), math.log(2)), clipped=~mask)
    found = KlCov(share=0.2, weight=1.0)(part, policy).each
    assert found == pytest.approx(np.where(chosen, 2 + math.log(2), 0))  # -A rho + |log rho|


@settings(max_examples=200)
@given(st.floats(-5, 5), st.floats(-3, 3))
def test_no_token_is_clipped(change: float, advantage: float) -> None:
    ratio = math.exp(change)
    assert float(Dot().loss.token_loss(ratio, advantage)) == pytest.approx(-ratio * advantage)
    usual = max(-ratio * advantage, -min(max(ratio, 0.8), 1.2) * advantage)
    assert float(Dot(clip=0.2).loss.token_loss(ratio, advantage)) == pytest.approx(usual)


def test_the_loss_is_the_codes() -> None:
    loss = Dot().loss
    assert (loss.dual_clip, loss.aggregation, loss.kl) == (None, "sequence", 0)
    assert loss.terms == (KlCov(share=0.002, weight=1.0),)
    assert Dot(kl_cov_share=0).loss.terms == ()


@pytest.mark.parametrize(("margin", "cut"), [(0, 2640), (0.34, 2640), (0.35, 4000), (1360.5, 2640), (1361, 4000)])
def test_a_margin_below_one_is_a_share_and_above_it_whole_tokens(margin: float, cut: int) -> None:
    assert Dot(margin=margin).cut(OUTLIER)[-1] == cut
