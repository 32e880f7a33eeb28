"""DLER: a hard cap, and statistics over the whole batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.methods.shaping.da_dler import DaDler
from satisfice.methods.shaping.dler import Dler
from satisfice.testing import rollouts

BATCH = rollouts(
    [1, 1, 0, 0, 1, 0, 0, 0],
    [1000, 2000, 4000, 3000, 3000, 4000, 4000, 4000],
    group=[0] * 4 + [1] * 4,
    truncated=[0, 0, 1, 0, 0, 1, 1, 1],
)


@pytest.mark.parametrize(
    ("scope", "ddof", "expected"),
    [
        ("sequence", 0, [1.0690, 1.0690, -1.0690, -1.0690, 1.6036, -0.5345, -0.5345, -0.5345]),
        ("sequence", 1, [1, 1, -1, -1, 1.5, -0.5, -0.5, -0.5]),
        # 25 000 tokens, mean -0.11, unbiased variance 0.185407
        ("token", 1, [1.4167, 1.4167, -0.9057, -0.9057, 1.9973, -0.3251, -0.3251, -0.3251]),
    ],
)
def test_worked_example(scope: str, ddof: int, expected: list[float]) -> None:
    assert Dler(scope=scope, ddof=ddof)(BATCH).advantage == pytest.approx(expected, abs=1e-4)


def test_the_released_code_pays_a_right_rollout_that_was_cut_a_tenth() -> None:
    batch = rollouts([1, 1, 1, 0], [1000, 2000, 4000, 3000], truncated=[0, 0, 1, 0])
    assert Dler()(batch).reward.tolist() == [1, 1, 0, 0]
    reward = Dler(cut_pay=0.1)(batch).reward
    assert reward - reward.mean() == pytest.approx([0.475, 0.475, -0.425, -0.525], abs=1e-4)


def test_groups_of_one_verdict_are_not_kept_and_leave_the_statistics_alone() -> None:
    more = rollouts(
        [*BATCH.correct, 1, 1, 0, 0],
        [*BATCH.length, 5, 500, 5, 500],
        group=[*BATCH.group, 2, 2, 3, 3],
        truncated=[*BATCH.truncated, 0, 0, 0, 0],
    )
    shaped = Dler()(more)
    assert shaped.keep.tolist() == [True] * 8 + [False] * 4
    assert np.array_equal(shaped.advantage[:8], Dler()(BATCH).advantage)
    assert not shaped.advantage[8:].any()


def test_a_batch_in_which_nothing_differs_is_finite() -> None:
    assert not Dler()(rollouts([1, 1], [5, 9])).advantage.any()
    assert not Dler()(rollouts([1], [5])).advantage.any()
    assert np.isfinite(Dler(lone="reward")(rollouts([1, 1], [1, 0], group=[0, 1])).advantage).all()


def test_the_recipe() -> None:
    loss = Dler().loss
    assert (loss.clip_low, loss.clip_high, loss.dual_clip, loss.aggregation) == (0.2, 0.28, 10, "token")
    assert (loss.kl, loss.kl_kind) == (0.0005, "k2")
    assert Dler().cap({}, ["a", "b"]).tolist() == [4000, 4000]


def test_nothing_bounds_an_advantage_and_the_largest_is_told() -> None:
    batch = rollouts([1, 0, 0, 0], [20_000, 1, 2, 3])
    for method in (Dler(limit=32_000), DaDler(limit=32_000, easy_limit=32_000)):
        shaped = method(batch)
        assert np.abs(shaped.advantage).max() == pytest.approx(57.7, abs=0.1)
        assert shaped.metrics["largest_advantage"] == np.abs(shaped.advantage).max()
    assert Dler(limit=32_000, scope="sequence")(batch).metrics["largest_advantage"] == pytest.approx(1.5)


def test_what_the_released_code_does_otherwise_is_an_option() -> None:
    batch = rollouts([1, 1, 0, 0], [1000, 2000, 4000, 3000], truncated=[0, 1, 0, 0])
    gain = Dler(right_gain=0.1)(batch).advantage - Dler()(batch).advantage
    assert gain == pytest.approx([0.1, 0, 0, 0])
    assert (Dler().loss.kl_kind, Dler(divergence="k3").loss.kl_kind) == ("k2", "k3")
    assert Dler().card.fidelity == "paper"


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_the_released_form_is_the_released_trainers(seed: int) -> None:
    """Its reward, its whitening over tokens, and what it adds for right rollouts afterwards."""
    rng = np.random.default_rng(seed)
    groups, size = int(rng.integers(1, 4)), int(rng.integers(2, 6))
    correct, cut = rng.random((2, groups * size)) < 0.5
    length = rng.integers(1, 60, groups * size)
    batch = rollouts(correct, length, np.repeat(np.arange(groups), size), truncated=cut)
    score = np.where(cut, 0.1, 1.0) * correct
    keep = np.repeat([len(set(rows)) > 1 for rows in correct.reshape(groups, size).tolist()], size)
    shaped = Dler(cut_pay=0.1, right_gain=0.1, divergence="k3")(batch)
    assert shaped.keep.tolist() == keep.tolist()
    if keep.any() and length[keep].sum() > 1:
        centred = score - np.repeat(score.reshape(groups, size).mean(1), size)
        tokens = np.repeat(centred[keep], length[keep])
        whitened = (centred - tokens.mean()) / np.sqrt(tokens.var(ddof=1) + 1e-8)
        assert shaped.advantage[keep] == pytest.approx((whitened + 0.1 * (score >= 1))[keep])
