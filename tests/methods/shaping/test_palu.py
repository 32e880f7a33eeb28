"""PALU: a length budget for every prompt."""

import numpy as np
import pytest

from satisfice.core.errors import BadInput
from satisfice.methods.shaping.palu import Palu
from satisfice.testing import rollouts

LENGTHS = np.array([1000, 1500, 2000, 2500, 3000, 3500, 6000, 8192])
RIGHT = np.array([1, 1, 1, 1, 1, 1, 1, 0])


@pytest.mark.parametrize(("over", "expected"), [("right", 4692), ("all", 2750)])  # cuts of 3500 and 5442
def test_worked_example(over: str, expected: int) -> None:
    assert Palu(over=over).next_budget(8192, LENGTHS, RIGHT) == expected


def test_worked_example_of_the_reset() -> None:
    assert Palu().next_budget(3000, LENGTHS, [1, 1, 1, 1, 1, 0, 0, 0]) == 8192
    assert Palu(target=0.875).next_budget(3000, LENGTHS, RIGHT) == 8192, "strict"


def test_budgets_are_kept_by_prompt_and_bind_at_the_next_visit() -> None:
    rule = Palu(over="right")
    batch = rollouts(RIGHT, LENGTHS, group=[7] * 8, prompt=["q"] * 8)
    state = rule.update(rule.init(), batch)
    assert state == {"budgets": {"q": 4692}}
    assert rule.cap(state, ["q", "other"]).tolist() == [4692, 8192]
    again = rule(batch, state)
    assert again.reward.tolist() == [1, 1, 1, 1, 1, 1, 0, 0]
    assert rule.update(state, batch) == {"budgets": {"q": 8192}}, "6 of 8 within the budget: reset"


def test_other_prompts_keep_theirs() -> None:
    rule = Palu()
    batch = rollouts([1, 1], [100, 5000], prompt=["b", "b"])
    assert rule.update({"budgets": {"a": 5}}, batch)["budgets"].keys() == {"a", "b"}


def test_equal_lengths_leave_the_budget_and_nothing_falls_below_the_floor() -> None:
    assert Palu().next_budget(5000, np.array([700, 700]), [1, 1]) == 5000
    assert Palu(floor=300).next_budget(400, np.array([10, 390]), [1, 1]) == 300


def test_it_refuses_batches_that_do_not_name_their_prompts() -> None:
    with pytest.raises(BadInput, match="remembers prompts"):
        Palu()(rollouts([1]))
    with pytest.raises(BadInput, match="floor must not exceed"):
        Palu(floor=9000)
