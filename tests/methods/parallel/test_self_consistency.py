"""Self-consistency: who wins the vote, and what the losers cost."""

import asyncio

from satisfice.core.engine import Request, random_key
from satisfice.core.problem import Problem
from satisfice.core.session import Session, Solution, solve
from satisfice.engines.scripted import END, ScriptedEngine
from satisfice.methods.parallel.self_consistency import SelfConsistency
from satisfice.methods.stopping.fixed_budget import FixedBudget


def play(rule: SelfConsistency, answers: list[str]) -> tuple[Solution, ScriptedEngine]:
    """Chain number n thinks for n + 1 words and answers `answers[n]`."""
    keys = {random_key(0, "a", str(n)): n for n in range(len(answers))}

    def script(so_far: str, request: Request) -> str:
        number = keys[request.key]
        story = "hm " * (number + 1) + "</think>" + answers[number]
        if story.startswith(so_far):
            return story[len(so_far) :] or END
        return END if so_far.endswith("cut") else "cut"

    engine = ScriptedEngine(script)
    problem = Problem(id="a", task="t@1", question="q", answer="12")
    return asyncio.run(solve(rule, Session(engine, problem))), engine


def test_the_worked_example() -> None:
    solution, engine = play(SelfConsistency(n=6), ["12", "12", "7", "", "7", "12"])
    (look,) = (event for event in solution.log if event.kind == "look")
    assert (solution.text, solution.chain, look.data["value"]) == ("12", "0", 0.6)
    assert solution.ledger.spent == engine.tokens
    assert solution.ledger.kept == 2 + 1 + 2 + 1  # "hm" and a blank, the closing tag, "1" and "2", the end
    assert engine.open_sequences == 0


def test_a_tie_goes_to_the_lower_chain_number() -> None:
    assert play(SelfConsistency(n=4), ["7", "12", "12", "7"])[0].text == "7"


def test_when_no_chain_answers_there_is_no_answer() -> None:
    solution, _ = play(SelfConsistency(n=3), ["", "", ""])
    assert (solution.text, solution.error) == ("", "")


def test_every_chain_follows_the_inner_rule() -> None:
    solution, _ = play(SelfConsistency(n=3, stop=FixedBudget(tokens=1)), ["1", "2", "3"])
    assert (solution.text, solution.ended) == ("cut", "rule")
