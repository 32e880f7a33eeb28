"""What every policy must be able to do, checked on the scripted engine in well under a second."""

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

from satisfice.core.engine import Request
from satisfice.core.fit import cards
from satisfice.core.problem import Problem
from satisfice.core.session import Policy, Session, Solution, solve
from satisfice.engines.scripted import END, ScriptedEngine
from satisfice.testing.method import claim

STORIES = (
    "2+2=4 so 4\nWait, 4-2=2 ok\nWait, once more 4 ok\n</think>4",
    "first 7*6=41 so 41\nWait, 41-1=40 no\n7*6=42 so 42\nWait, 42 ok\nso 42\nso 42\nso 42\n</think>42",
    "nothing comes to mind\n" * 12 + "</think>",
    "it ends in the middle",
)
"""How chains of the battery go: settled at once, repaired, without an answer, and without even an end of thinking."""

PROBLEMS = range(8)


def check_policy(policy: Policy) -> None:
    """Check what a policy does.

    Raises:
        Faulty: answers that change from run to run or with what else is running, sequences left open, or a ledger that
            disagrees with what the engine did.
    """
    alone = [play(policy, [number])[0][0] for number in PROBLEMS]
    for number, solution in enumerate(alone):
        again, engine = play(policy, [number])
        claim(not solution.error, policy, f"fails on problem {number}: {solution.error}")
        claim(_told(again[0]) == _told(solution), policy, f"is not deterministic on problem {number}")
        claim(engine.open_sequences == 0, policy, f"leaves {engine.open_sequences} sequences open")
        spent = solution.ledger.spent
        claim(spent == engine.tokens, policy, f"books {spent} tokens where the engine sampled {engine.tokens}")
        kept = sum(len(span.ids) for span in solution.spans if span.kind == "sampled")
        claim(kept == solution.ledger.kept, policy, f"books {solution.ledger.kept} kept tokens, its chain has {kept}")
    together, _ = play(policy, PROBLEMS)
    for number, (one, many) in enumerate(zip(alone, together, strict=True)):
        claim(_told(one) == _told(many), policy, f"answers problem {number} differently when others run beside it")


def play(policy: Policy, problems: Sequence[int] = PROBLEMS, **limits: Any) -> tuple[list[Solution], ScriptedEngine]:
    """Run a method on numbered problems at once; what it made of them, and the engine that told the `STORIES`.

    The engine provides what the method's card says it needs, and refuses the rest.
    `limits` go to the session: `budget`, `chain_limit`, `seed`.
    """
    engine = ScriptedEngine(_script, provides=frozenset().union(*(card.needs for card in cards(policy))))

    async def run() -> list[Solution]:
        sessions = [Session(engine, _problem(number), **limits) for number in problems]
        return list(await asyncio.gather(*(solve(policy, session) for session in sessions)))

    return asyncio.run(run()), engine


def _problem(number: int) -> Problem:
    return Problem(id=str(number), task="stories@1", question=f"problem {number}", answer="")


def _script(so_far: str, request: Request) -> tuple[str, float]:
    """Go on with the story that the chain is in; which one a new chain begins depends on its random key."""
    if not so_far:
        return STORIES[request.key % len(STORIES)], -0.01
    for story in STORIES:
        if story.startswith(so_far):
            return story[len(so_far) :] or END, -0.01
    thinking, closed, answer = so_far.rpartition("</think>")
    if not closed:
        return END, -1.0
    stated = [line.rpartition("so ")[2] for line in thinking.split("\n") if "so " in line]
    told = stated[-1] if stated else ""  # a forced answer is the last one stated, said with more or less conviction
    return (told[len(answer) :] if told.startswith(answer) else "") or END, -0.02 * (1 + len(thinking) % 5)


def _told(solution: Solution) -> tuple[object, ...]:
    """Everything about a solution but the time it took; text for tokens, whose numbers depend on what came before."""
    ledger = dataclasses.replace(solution.ledger, wall_s=0.0)
    shape = [(span.kind, span.by, len(span.ids)) for span in solution.spans]
    return solution.text, solution.thinking, solution.ended, solution.chain, ledger, shape, solution.error
