"""Train long, think short: a budget that shrinks, and a reward for keeping to it."""

import numpy as np
import pytest

from satisfice.core.shaper import advance
from satisfice.methods.shaping.curriculum_budget import CurriculumBudget, length_reward
from satisfice.testing import rollouts

AT_87 = CurriculumBudget(start=87, decay=1.0)
BATCH = rollouts([1, 1, 1, 0], [40, 87, 130, 200], thinking_closed=[1] * 4, answer_found=[1] * 4)


def test_worked_example() -> None:
    assert length_reward(BATCH.length, 87, "triangle") == pytest.approx([0.4598, 1.0, 0.5057, 0.0], abs=1e-4)
    assert length_reward(BATCH.length, 87, "band") == pytest.approx([1.0, 1.0, 0.5057, 0.0], abs=1e-4)
    shaped = AT_87(BATCH)
    assert shaped.reward == pytest.approx([0.8379, 1.0, 0.8517, 0.1], abs=1e-4)
    assert shaped.advantage == pytest.approx([0.4007, 0.8628, 0.4400, -1.7034], abs=1e-4)


def test_worked_example_of_the_schedule() -> None:
    shaper = CurriculumBudget()
    budgets = [shaper.budget({"step": step}) for step in (0, 149, 150, 300, 450)]
    assert budgets == pytest.approx([256, 256, 179.2, 125.44, 87.808], abs=1e-3)


def test_a_linear_schedule_ends_at_the_same_budget_in_equal_drops() -> None:
    shaper = CurriculumBudget(schedule="linear")
    budgets = [shaper.budget({"step": step}) for step in (0, 150, 300, 450, 600)]
    assert np.diff(budgets[:4]) == pytest.approx([(87.808 - 256) / 3] * 3, abs=1e-3)
    assert budgets[3] == budgets[4] == pytest.approx(87.808)


def test_the_state_counts_steps() -> None:
    shaper = CurriculumBudget(interval=2)
    state = shaper.init()
    for _ in range(2):
        state = advance(shaper, state, BATCH)
    assert (state, shaper(BATCH, state).metrics["budget"]) == ({"step": 2}, pytest.approx(179.2))


def test_a_wrong_rollout_at_the_budget_is_paid_as_in_the_paper() -> None:
    wrong = rollouts([0, 0], [87, 300], thinking_closed=[0, 0], answer_found=[0, 0])
    assert AT_87(wrong).reward == pytest.approx([0.3, 0])
