"""Plan first: the plan stands in the second prompt, has a limit, and is checked for the answer."""

from typing import Any

from tests.methods.parallel.stage import PROBLEM, looks, play

from satisfice.core.engine import Request, random_key
from satisfice.engines.scripted import END
from satisfice.methods.parallel.plan_first import PlanFirst
from satisfice.methods.stopping.fixed_budget import FixedBudget

PLANNER = random_key(0, PROBLEM.id, "0")


def planned(plan: str, answer: str = "7") -> Any:
    def script(so_far: str, request: Request) -> str:
        if request.key == PLANNER:
            return plan[len(so_far.partition("</think>")[2]) :] or END
        whole = f"hm hm</think>{answer}"
        if whole.startswith(so_far):
            return whole[len(so_far) :] or END
        return END if so_far.endswith("cut") else "cut"

    return script


def test_the_problem_is_asked_with_the_plan_after_it() -> None:
    solution, engine = play(PlanFirst(), planned("add and carry"))
    prompt = engine.decode(list(solution.spans[0].ids))
    assert prompt == "q\n\nA plan that may help:\nadd and carry<think>"
    assert (solution.text, solution.chain, looks(solution)) == ("7", "1", [0.0])
    assert solution.ledger.dropped == len(engine.encode("add and carry")) + 1
    assert solution.ledger.steps == solution.ledger.spent, "first the plan, then the solution"


def test_a_plan_that_holds_the_answer_is_told() -> None:
    assert looks(play(PlanFirst(), planned("it is 7"))[0]) == [1.0]


def test_the_plan_has_a_limit_and_an_empty_one_changes_nothing() -> None:
    solution, engine = play(PlanFirst(plan_tokens=3), planned("add and carry"))
    assert engine.decode(list(solution.spans[0].ids)).endswith("help:\nadd and<think>")
    empty, engine = play(PlanFirst(), planned(""))
    assert engine.decode(list(empty.spans[0].ids)) == "q<think>"


def test_the_solver_follows_the_inner_rule() -> None:
    solution, _ = play(PlanFirst(stop=FixedBudget(tokens=1)), planned("add"))
    assert (solution.text, solution.thinking) == ("cut", "hm")
