"""Thinking traces for the pocket reasoner: a pass, a stated answer, checks, and another pass where a check failed.

    361-220=141                         a first pass
    +607=748
    so 748                              a stated answer: always a line of this form, see `STATED`
    Check back 748-607=141              a check by another road; its cue word is drawn at random
    +220=361 361 ok                     it restates what it compares
    Hmm, other order 607-220=387
    +361=748 748 ok

How many checks there are is drawn before the work begins, so it says nothing about whether the work is right. A check
that fails is followed by a new attempt and at least one more check, up to a fourth attempt, which ends the chain.
"""

import random
import re
from dataclasses import dataclass

from satisfice.made.draft import Draft
from satisfice.made.solvers import SOLVERS, Solver

STATED = r"^so (-?\d+)$"  # every stated answer, with re.MULTILINE

USER, ASSISTANT, THINK, END_THINK, END = "<|user|>", "<|assistant|>", "<think>", "</think>", "<|end|>"
PAD = "<|pad|>"

SHORT = 3  # steps; problems up to here are overthought more
CHECKS_SHORT = (1, 2, 2, 3, 3, 4, 5)
CHECKS_LONG = (1, 2, 2, 3, 4)
SLIP_RATES = (0.0, 0.0, 0.02, 0.04, 0.08, 0.12, 0.16, 0.3)  # per written number in the first pass; drawn per trace
CHECK_SLIPS = 0.25  # of that rate, within a check
AGAIN_SLIPS = 0.6  # of that rate, in each further pass
PASSES = 4  # after so many attempts the chain ends, whatever a check would say; the last one is written without slips


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One worked problem. Offsets are characters of `thinking`, spans half open."""

    question: str
    thinking: str
    answer: str
    hidden: tuple[tuple[int, int], ...]  # slips: read, but never graded
    cues: tuple[int, ...]  # where a line begins with a cue word
    lines: tuple[int, ...]  # where any other line begins, and the end


def write_trace(family: str, question: str, answer: str, rng: random.Random) -> Trace:
    """Work a problem out the way the pocket reasoner should, slips and repairs included."""
    while True:
        solver = SOLVERS[family](question)
        draft = Draft(rng, rng.choice(SLIP_RATES))
        found = _think(solver, draft)
        if str(found) == answer:  # two slips can cancel out in a check; such a trace teaches the wrong thing
            return Trace(
                question=question,
                thinking=draft.text,
                answer=answer,
                hidden=tuple(draft.hidden),
                cues=tuple(draft.cues),
                lines=tuple(draft.lines),
            )


def _think(solver: Solver, draft: Draft) -> int:
    slips = draft.slip_rate
    planned = draft.rng.choice(CHECKS_SHORT if solver.size <= SHORT else CHECKS_LONG)
    answer = solver.first(draft)
    _state(draft, answer)
    passes, checks, holds = 1, 0, False
    while passes < PASSES and (checks < planned or not holds):
        draft.slip_rate = slips * CHECK_SLIPS
        holds = solver.check(draft, answer)
        checks += 1
        if not holds:
            slips = slips * AGAIN_SLIPS if passes < PASSES - 1 else 0.0
            draft.slip_rate = slips
            answer = solver.again(draft)
            _state(draft, answer)
            passes += 1
    return answer


def _state(draft: Draft, answer: int) -> None:
    draft.say(f"so {answer}")
    draft.end()


def stated_answers(thinking: str) -> list[tuple[int, str]]:
    """Return every answer that a chain states, in order: (characters up to the end of its line, answer)."""
    return [(match.end() + 1, match[1]) for match in re.finditer(STATED, thinking, re.MULTILINE)]


def first_answer(thinking: str) -> tuple[int, str] | None:
    """Return the first answer that a chain states, or None: (characters up to the end of its line, answer)."""
    return next(iter(stated_answers(thinking)), None)


def prompt_text(question: str) -> str:
    """Return what the model reads before it thinks; the chat template renders the same."""
    return f"{USER}{question}{ASSISTANT}{THINK}"
