"""ODIN: a reward model with two heads, and training on one of them."""

import math

import numpy as np
import pytest

from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.odin import Odin, correlation, length_loss, orthogonality_loss, ranking_loss
from satisfice.testing import rollouts


def test_training_reads_the_quality_head_alone() -> None:
    batch = rollouts([0, 0, 1], [10, 20, 30], score=[0.1, 0.4, 0.1])
    shaped = Odin()(batch)
    assert np.array_equal(shaped.advantage, Grpo()(batch.rewarded([0.1, 0.4, 0.1])).advantage)
    assert shaped.metrics["length_correlation"] == pytest.approx(0, abs=1e-9)


def test_length_loss_is_0_for_disentangled_heads_and_largest_for_swapped_ones() -> None:
    length = [10, 20, 30, 40]
    free, tied = [1.0, -1.0, -1.0, 1.0], [1.0, 2.0, 3.0, 4.0]
    assert length_loss(length, free, tied) == pytest.approx(0, abs=1e-9)
    assert length_loss(length, tied, [-x for x in tied]) == pytest.approx(3)
    assert length_loss(length, free, tied, both_heads=True) == pytest.approx(
        abs(correlation(length, np.add(free, tied)))
    )


def test_a_constant_length_has_no_correlation() -> None:
    assert (correlation([5, 5, 5], [1, 2, 3]), correlation([5], [1])) == (0, 0)
    assert math.isfinite(length_loss([5, 5], [1, 2], [1, 2]))


def test_heads_are_centred_and_normalised() -> None:
    assert orthogonality_loss([1, 2, 3], [7, 9, 11]) == pytest.approx(1)
    assert orthogonality_loss([1, 0, -1], [1, -2, 1]) == pytest.approx(0)
    assert orthogonality_loss([2, 2], [1, 2]) == 0


def test_ranking_loss_is_stable_far_out() -> None:
    assert ranking_loss([1.0, 0.0], [0.0, 0.0]) == pytest.approx((math.log(1 + math.exp(-1)) + math.log(2)) / 2)
    assert ranking_loss([-900.0], [0.0]) == pytest.approx(900)
