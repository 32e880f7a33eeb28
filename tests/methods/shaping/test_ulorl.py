"""Segments and mastered tokens: what weighs nothing, what the denominator is, whose policy the ratio divides by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.rollouts import ENTROPY, LOGPROB, MASK
from satisfice.core.steering import Segmented
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.ulorl import Ulorl, mastered, ratios
from satisfice.testing import random_rollouts, rollouts

PROBS = np.array([[0.995, 0.6, 0.999, 0.97]] * 4)
FULL = np.ones((4, 4), bool)


def batch(entropy: float, correct: list[int] | None = None):  # type: ignore[no-untyped-def]
    verdicts = correct or [1, 0, 0, 0]
    return rollouts(verdicts, [4] * 4, logprob=np.log(PROBS), entropy=np.full((4, 4), entropy), mask=FULL)


def test_worked_example_of_the_advantages() -> None:
    assert Ulorl()(batch(0.15)).advantage == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-4)


@pytest.mark.parametrize(("entropy", "weights", "loss"), [(0.15, [0, 1, 0, 1], -0.6), (0.25, [1, 1, 1, 1], -1.2)])
def test_worked_example_of_the_mask_whose_denominator_stays_the_token_count(
    entropy: float, weights: list[float], loss: float
) -> None:
    shaped = Ulorl()(batch(entropy))
    assert shaped.weight[0].tolist() == weights  # type: ignore[index]
    assert -1.2 * np.sum(weights) / 4 == pytest.approx(loss)
    one = Ulorl()(batch(entropy).take([0]))  # the row alone, with the example's advantage
    zero = np.zeros((1, 4))
    alone = Ulorl().loss.policy_loss(
        type(shaped)(advantage=np.array([1.2]), reward=one.reward, weight=one.weight), zero, zero, FULL[:1]
    )
    assert alone == pytest.approx(loss)


def test_tokens_of_wrong_rollouts_are_never_masked() -> None:
    assert (Ulorl()(batch(0.01)).weight[1:] == 1).all()  # type: ignore[index]


def test_groups_that_are_all_right_or_all_wrong_are_left_out_and_mixed_ones_stay() -> None:
    assert Ulorl()(batch(0.15)).keep.all()
    assert not Ulorl()(batch(0.15, [1, 1, 1, 1])).keep.any()
    assert not Ulorl()(batch(0.15, [0, 0, 0, 0]).rewarded([0.0] * 4)).keep.any()


def test_a_rollout_at_the_limit_earns_nothing_though_it_is_right() -> None:
    tokens = {"logprob": np.log(PROBS), "entropy": np.ones((4, 4)), "mask": FULL}
    shaped = Ulorl(limit=100)(rollouts([1, 1, 1, 0], [50, 100, 101, 50], truncated=[0, 1, 0, 0], **tokens))
    assert shaped.reward.tolist() == [1, 0, 0, 0]


def test_with_one_update_a_step_every_ratio_is_one_whatever_sampled_the_segment() -> None:
    rng = np.random.default_rng(0)
    now, older = -rng.random((3, 9)), -rng.random((3, 9))
    assert (ratios(now, now, older) == 1).all()
    versions = np.where(np.arange(9) < 5, older, now)  # the first segment by an older policy
    assert (ratios(now, now, versions, "sais")[:, 5:] == 1).all()
    assert (ratios(now, now, versions, "sais")[:, :5] != 1).all()


def test_the_segments_cover_the_limit() -> None:
    shaper = Ulorl(limit=1000, segments=3)
    assert isinstance(shaper, Segmented)
    assert (shaper.segment, shaper.whole_groups) == (334, True)
    assert Ulorl().segment == 16_384
    assert shaper.cap({}, ["a", "b"]).tolist() == [1000, 1000]


@given(st.integers(0, 50), st.floats(0.5, 1), st.floats(0, 2))
def test_a_mastered_token_is_sure_right_and_of_a_sure_rollout(seed: int, tau: float, sigma: float) -> None:
    rows = random_rollouts(seed, columns=(LOGPROB, ENTROPY, MASK))
    found = mastered(rows["logprob"], rows["entropy"], rows["mask"], rows.reward, tau=tau, sigma=sigma)
    assert not (found & ~rows["mask"]).any()
    assert (np.exp(rows["logprob"][found]) >= tau - 1e-9).all()
    assert rows.correct[found.any(axis=1)].all()
    more = mastered(rows["logprob"], rows["entropy"], rows["mask"], rows.reward, tau=tau / 2, sigma=sigma + 1)
    assert not (found & ~more).any()


def test_a_weight_of_the_inner_method_goes_on_counting() -> None:
    shaped = Ulorl(advantage=Grpo(kl=0, aggregation="sequence"))(batch(0.15))
    assert (shaped.weight == Ulorl()(batch(0.15)).weight).all()
