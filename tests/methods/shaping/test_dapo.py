"""DAPO: overlong charge, dynamic sampling, clip-higher."""

import numpy as np
import pytest

from satisfice.core.errors import BadInput
from satisfice.methods.shaping import Dapo
from satisfice.methods.shaping.dapo import differs, overlong
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
