"""DAPO: overlong charge, dynamic sampling, clip-higher."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.core.shaper import reward_range, worth
from satisfice.methods.shaping.dapo import Dapo, differs, overlong
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.kimi_length import KimiLength
from satisfice.testing import rollouts


def test_worked_example_of_the_charge() -> None:
    length = np.array([16000, 16384, 17408, 18432, 20480, 21000])
    assert overlong(length, limit=20480, cache=4096).tolist() == [0, 0, -0.25, -0.5, -1, -1]


def test_worked_example_of_a_group() -> None:
    batch = rollouts([1, 1, 1, 0], [16000, 17408, 20480, 18432], reward=[1, 1, 1, -1])
    shaped = Dapo()(batch)
    assert shaped.reward.tolist() == [1.0, 0.75, 0.0, -1.5]
    assert shaped.advantage == pytest.approx([0.8333, 0.6111, -0.0556, -1.3889], abs=1e-4)
    assert shaped.metrics == {"overlong": 0.75, "kept": 1.0}


def test_worked_example_of_the_clip() -> None:
    assert -Dapo().loss.token_loss([1.5, 0.5, 1.5], [1, -1, -1]) == pytest.approx([1.28, -0.8, -1.5])


def test_groups_without_a_difference_are_not_kept_but_groups_of_one_are() -> None:
    batch = rollouts([1, 1, 0, 0, 1, 0, 1], [100, 19000, 5, 5, 5, 5, 5], group=[0, 0, 1, 1, 2, 2, 3])
    assert Dapo()(batch).keep.tolist() == [False, False, False, False, True, True, True]
    assert Dapo(keep="reward")(batch).keep[:2].tolist() == [True, True], "the charge makes them differ"
    assert Dapo(keep="none")(batch).keep.all()
    assert differs(batch, batch.correct)[-1]


def test_a_cache_larger_than_the_limit_is_refused() -> None:
    with pytest.raises(BadInput, match="dapo: cache must not exceed limit"):
        Dapo(limit=10, cache=11)


def test_its_charge_is_sized_against_verdicts_of_plus_and_minus_one() -> None:
    assert (reward_range(Dapo()), reward_range(Grpo()), reward_range(KimiLength(advantage=Dapo()))) == (
        "+-1", "0/1", "0/1",
    )  # fmt: skip
    batch = rollouts([1, 0, 0, 0], [20480, 16000, 16000, 16000])
    shaped = Dapo()(batch.rewarded(worth(batch.correct, "+-1")))
    assert shaped.advantage == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-4)
    assert not Dapo()(batch.rewarded(worth(batch.correct, "0/1"))).advantage.any(), "right at the limit, worth nothing"


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_with_plus_and_minus_one_a_right_rollout_is_never_below_a_wrong_one_of_its_length(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    correct, length = rng.random(n) < 0.5, rng.integers(1, 20481, n)
    batch = rollouts(correct, length)
    shaped = Dapo()(batch.rewarded(worth(batch.correct, reward_range(Dapo()))))
    base = np.where(correct, 1.0, -1.0) + np.clip((20480 - 4096 - length) / 4096, -1, 0)
    assert shaped.reward == pytest.approx(base)
    if correct.any() and not correct.all():
        assert shaped.reward[correct].min() >= 0 > shaped.reward[~correct].max()
