"""GRPO-lambda: brevity where the batch is most accurate."""

import numpy as np
import pytest

from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.grpo_lambda import GrpoLambda
from satisfice.testing import random_rollouts, rollouts

LENGTHS = [1000, 2000, 4000, 3000]
TWO = rollouts([1, 1, 1, 0, 1, 0, 0, 0], LENGTHS * 2, group=["A"] * 4 + ["B"] * 4)


@pytest.mark.parametrize(
    ("alpha", "reward", "advantage"),
    [
        (0.6, [0.8466, 0.7399, 0.5249, 0], [0.8468, 0.5631, -0.0079, -1.4020]),
        (0.2, [0.9489, 0.9133, 0.8416, 0], [0.6027, 0.5241, 0.3659, -1.4927]),
    ],
)
def test_worked_example(alpha: float, reward: list[float], advantage: list[float]) -> None:
    shaped = GrpoLambda(alpha=alpha)(TWO)
    assert shaped.reward == pytest.approx([*reward, 1, 0, 0, 0], abs=1e-4)
    assert shaped.advantage == pytest.approx([*advantage, 1.5, -0.5, -0.5, -0.5], abs=1e-4)
    assert shaped.metrics == {"asked_accuracy": 0.75}


@pytest.mark.parametrize(("top", "groups", "asked"), [(0.2, 1, 1), (0.2, 6, 2), (0.07, 100, 7), (0, 5, 1), (1, 5, 5)])
def test_how_many_groups_are_asked(top: float, groups: int, asked: int) -> None:
    batch = rollouts(np.arange(groups) % 2, group=np.arange(groups))
    assert GrpoLambda(top=top).asked(batch).sum() == asked


def test_among_equals_the_first_label_is_asked_wherever_its_rows_stand() -> None:
    batch = rollouts([1, 0, 1, 0], group=["b", "a", "a", "b"])
    assert GrpoLambda().asked(batch).tolist() == [False, True, True, False]


def test_a_short_wrong_rollout_of_an_asked_group_gets_nothing() -> None:
    assert GrpoLambda(top=1)(rollouts([0, 1, 1], [1, 900, 1000])).reward[0] == 0


def test_without_alpha_it_is_grpo() -> None:
    batch = random_rollouts(5)
    assert np.array_equal(GrpoLambda(alpha=0)(batch).advantage, Grpo()(batch).advantage)
