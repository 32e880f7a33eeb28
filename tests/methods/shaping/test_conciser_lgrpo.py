"""ConciseR's second stage: brevity where every rollout is right."""

import pytest

from satisfice.methods.shaping.conciser_lgrpo import ConciserLgrpo
from satisfice.methods.shaping.grpo import Grpo
from satisfice.testing import rollouts

LENGTHS = [800, 1200, 1600, 2400]


def test_worked_example() -> None:
    shaped = ConciserLgrpo()(rollouts([1, 1, 1, 1], LENGTHS))
    assert shaped.reward == pytest.approx([0.7396, 0.6094, 0.4792, 0.2188], abs=1e-4)
    assert shaped.advantage == pytest.approx([1.0247, 0.4392, -0.1464, -1.3175], abs=1e-4)
    population = ConciserLgrpo(advantage=Grpo(ddof=0))(rollouts([1, 1, 1, 1], LENGTHS))
    assert population.advantage == pytest.approx([1.1832, 0.5071, -0.1690, -1.5213], abs=1e-4)
    mixed = ConciserLgrpo()(rollouts([1, 1, 0, 1], LENGTHS))
    assert mixed.advantage == pytest.approx([0.5, 0.5, -1.5, 0.5], abs=1e-4)


def test_the_unknown_constants_do_not_matter_in_a_group_that_is_all_right() -> None:
    batch = rollouts([1, 1, 1, 1], LENGTHS)
    assert ConciserLgrpo(limit=3072)(batch).advantage == pytest.approx(
        ConciserLgrpo(limit=500)(batch).advantage, abs=1e-4
    )


def test_a_truncated_rollout_counts_as_wrong() -> None:
    shaped = ConciserLgrpo()(rollouts([1, 1, 1, 1], LENGTHS, truncated=[0, 0, 0, 1]))
    assert shaped.reward.tolist() == [1, 1, 1, 0]


def test_the_first_stage_keeps_groups_with_both_sides_and_has_an_entropy_bonus() -> None:
    explore = ConciserLgrpo(stage="explore")
    batch = rollouts([1, 0, 1, 1, 0, 0], group=[0, 0, 1, 1, 2, 2])
    assert explore(batch).keep.tolist() == [True, True, False, False, False, False]
    assert (explore.loss.entropy, ConciserLgrpo().loss.entropy) == (0.001, 0)
