"""Step Pruner: steps in place of tokens."""

import pytest

from satisfice.methods.shaping.step_pruner import StepPruner, count_steps
from satisfice.testing import rollouts

G4 = rollouts(correct=[1, 1, 1, 0], step_count=[10, 16, 25, 30])


def test_worked_example() -> None:
    shaped = StepPruner()(G4)
    assert shaped.reward == pytest.approx([1.0, 0.94, 0.85, -0.2], abs=1e-4)
    assert shaped.advantage == pytest.approx([0.6202, 0.5146, 0.3563, -1.4911], abs=1e-4)


def test_other_forms_of_the_charge() -> None:
    assert StepPruner(norm="shortest").charge(G4) == pytest.approx([0, 0.006, 0.015, 0.02])
    assert StepPruner(bound=0.1).charge(G4) == pytest.approx([0, 0.06, 0.1, 0.1])


def test_a_wrong_rollout_gains_nothing_by_being_short_and_all_wrong_gives_nothing() -> None:
    assert StepPruner()(rollouts([1, 0, 0], step_count=[10, 2, 9])).reward.tolist() == [1, 0, 0]
    assert not StepPruner()(rollouts([0, 0], step_count=[3, 90])).advantage.any()


def test_the_only_right_rollout_is_not_charged() -> None:
    assert StepPruner()(rollouts([1, 0], step_count=[90, 3])).reward.tolist() == [1, 0]


def test_empty_paragraphs_are_no_steps() -> None:
    assert count_steps("a\n\n\n\nb\nc\n\n") == 2
    assert count_steps(" \n\n") == 0
