"""A stage for stop rules: a chain that tells a story, and trial answers that say what a test wants them to."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from satisfice.core.engine import Request
from satisfice.core.problem import Problem
from satisfice.core.session import Policy, Session, Solution, solve
from satisfice.engines.scripted import END, SCRIPTED, ScriptedEngine

Trial = Sequence[str | tuple[str, float] | Mapping[str, float]]
"""The tokens of a trial answer: as they are, with their probability, or as distributions."""


def trials(story: str, told: Callable[[str], Trial], answer: str = "answer") -> Callable[[str, Request], Any]:
    """A script: `told` makes a trial answer from the thinking; a sampled answer after `</think>` says `answer`."""

    def script(so_far: str, request: Request) -> Any:
        if story.startswith(so_far):
            return story[len(so_far) :] or END
        thinking, _, said = so_far.rpartition("</think>")
        if request.temperature > 0:
            return END if said else answer
        tokens = told(thinking)
        at = len(ScriptedEngine(story).encode(said))
        token = tokens[at] if at < len(tokens) else "\n"
        return (token[0], float(np.log(token[1]))) if isinstance(token, tuple) else token

    return script


def play(rule: Policy, script: Any, *, profile: Mapping[str, Any] | None = None, **limits: Any) -> Solution:
    """Run a rule on one problem; check that its books agree with what the engine did."""
    engine = ScriptedEngine(script, profile=replace(SCRIPTED, **(profile or {})), provides=rule.card.needs)
    session = Session(engine, Problem(id="a", task="t@1", question="q", answer=""), **limits)
    solution = asyncio.run(solve(rule, session))
    assert solution.ledger.spent == engine.tokens
    assert engine.open_sequences == 0
    return solution


def looks(solution: Solution) -> list[Any]:
    """What the rule measured, in order."""
    return [event.data["value"] for event in solution.log if event.kind == "look"]
