"""A stage for policies over several chains: each chain tells a story of its own, and the books are checked."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from satisfice.core.engine import Request, random_key
from satisfice.core.problem import Problem
from satisfice.core.session import Policy, Session, Solution, solve
from satisfice.engines.scripted import END, SCRIPTED, ScriptedEngine

PROBLEM = Problem(id="a", task="t@1", question="q", answer="")
Script = Callable[[str, Request], Any]


def stories(*told: str, forced: str = "cut") -> Script:
    """A script: chain n tells `told[n]`, a fork goes on with the story that it is in, a forced answer says `forced`.

    Chains beyond the last story begin again with the first.
    """
    own = {random_key(0, PROBLEM.id, str(n)): told[n % len(told)] for n in range(100)}

    def script(so_far: str, request: Request) -> str:
        for story in (own.get(request.key, told[0]), *told):
            if story.startswith(so_far):
                return story[len(so_far) :] or END
        return END if so_far.endswith(forced) else forced

    return script


def answers(*told: str) -> Script:
    """Chain n thinks for n + 1 words and answers `told[n]`."""
    return stories(*("hm " * (n + 1) + "</think>" + answer for n, answer in enumerate(told)))


def play(
    rule: Policy, script: Script, *, profile: Mapping[str, Any] | None = None, problem: Problem = PROBLEM, **limits: Any
) -> tuple[Solution, ScriptedEngine]:
    """Run a policy on one problem; check that it does not fail and that its books agree with what the engine did."""
    engine = ScriptedEngine(script, profile=replace(SCRIPTED, **(profile or {})))
    solution = asyncio.run(solve(rule, Session(engine, problem, **limits)))
    assert not solution.error
    assert solution.ledger.spent == engine.tokens
    assert engine.open_sequences == 0
    return solution, engine


def looks(solution: Solution) -> list[Any]:
    """What the policy measured, in order."""
    return [event.data["value"] for event in solution.log if event.kind == "look"]


def dropped(solution: Solution) -> list[str]:
    """Names of the chains that the policy gave up, in order."""
    return [event.chain for event in solution.log if event.kind == "drop"]


def begun(solution: Solution) -> Sequence[str]:
    """Names of the chains that were begun from the question."""
    return [event.chain for event in solution.log if event.kind == "chain"]
