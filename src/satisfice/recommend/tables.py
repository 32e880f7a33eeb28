"""What settings of rules do to recorded chains, problem by problem: the numbers that a search decides on."""

import asyncio
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satisfice.answers import extract_strict, same
from satisfice.catalog import METHODS, canonical, check_fit, parse_policies
from satisfice.core.errors import BadInput, NotRecorded, Unfit
from satisfice.core.ladder import Ladder
from satisfice.core.problem import Problem, Verdict
from satisfice.core.session import Policy, Session, solve
from satisfice.measure.drift import first_look
from satisfice.measure.promises import Loss
from satisfice.measure.replay import RecordedVerdicts, replay_plan
from satisfice.recordings.recording import Recording
from satisfice.recordings.replay import ReplayEngine
from satisfice.tasks.judge import Judging

MULTIPLES = 24  # of a recording's distance between checkpoints that a token budget is tried at, at most


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """What one policy did on some problems, in their order."""

    right: NDArray[np.bool_]  # [problems]
    unknown: NDArray[np.bool_]  # [problems] the verifier failed
    spent: NDArray[np.int64]  # [problems] tokens
    answers: tuple[str | None, ...]
    looked: NDArray[np.float64]  # [problems] tokens of thinking before the policy's first look; NaN: it never looked
    saw: NDArray[np.float64]  # [problems] what it saw there

    def part(self, chosen: NDArray[Any]) -> "Outcomes":
        """Return the outcomes of some of the problems, by a mask or by their numbers."""
        return replace(
            self, right=self.right[chosen], unknown=self.unknown[chosen], spent=self.spent[chosen],
            answers=tuple(self.answers[at] for at in np.arange(len(self.answers))[chosen]), looked=self.looked[chosen],
            saw=self.saw[chosen],
        )  # fmt: skip

    def losses(self, full: "Outcomes", loss: Loss) -> NDArray[np.int8]:
        """Return `[problems]`: 1 where something is lost against the full chains, -1 where gained, else 0.

        Of *wrong*, where the answer is not right.

        An answer whose verdict is unknown counts as not right: a promise must not rest on a verifier that failed.
        """
        if loss == "changed":
            pairs = zip(self.answers, full.answers, strict=True)
            return np.array([not equal_answers(a, b) for a, b in pairs], dtype=np.int8)
        if loss == "wrong":
            return (~self.right).astype(np.int8)
        return full.right.astype(np.int8) - self.right.astype(np.int8)


@dataclass(frozen=True, kw_only=True)
class Rungs:
    """The settings of one ladder that a recording can answer for, the safest first."""

    name: str  # "deer(reuse_answer=true): threshold"
    policies: tuple[Policy, ...]


def ladders_of(recording: Recording) -> Iterator[Rungs]:
    """Yield the settings of every rule that declares what a search may try, as far as this recording can answer."""
    engine = ReplayEngine(recording)
    for method in METHODS.values():
        for ladder in getattr(method, "ladders", ()):
            try:
                check_fit([method()], engine.name, engine.provides)
            except Unfit:
                continue
            policies = tuple(_policies(method, ladder, recording))
            if policies and _answers(recording, policies[-1]):
                fixed = ", ".join(f"{name}={str(value).lower()}" for name, value in ladder.fixed.items())
                name = method.card.id + (f"({fixed})" if fixed else "")
                yield Rungs(name=f"{name}: {ladder.field}", policies=policies)


def _policies(method: Any, ladder: Ladder, recording: Recording) -> Iterator[Policy]:
    every = recording.config["every"]
    if ladder.counts and not every:
        return
    values: Sequence[float] = ladder.values
    if ladder.counts == ladder.field:
        longest = int(np.quantile([row.thinking for row in recording.rows.values()], 0.99)) // every + 1
        steps = np.unique(np.linspace(1, longest, min(longest, MULTIPLES)).round().astype(int))[::-1]
        values = [int(step) * every for step in steps]
    counted = {ladder.counts: every} if ladder.counts and ladder.counts != ladder.field else {}
    for value in values:
        yield method(**ladder.fixed, **counted, **{ladder.field: value})


def _answers(recording: Recording, policy: Policy) -> bool:
    """Return whether the recording holds what a policy asks for, as one of its chains tells."""
    plan = replay_plan(recording, "full", limit=1)
    problems = [problem for task in plan.tasks for problem in task.problems]
    try:
        asyncio.run(outcomes(recording, [policy], problems))
    except NotRecorded:
        return False
    return True


async def outcomes(
    recording: Recording, policies: Sequence[Policy], problems: Sequence[Problem], *,
    told: Callable[[], None] = lambda: None,
) -> list[Outcomes]:  # fmt: skip
    """Replay policies on the recorded chains of some problems, those of the first seed.

    Raises:
        NotRecorded: a policy asks for something that the recording does not hold.
    """
    engine, found = ReplayEngine(recording), []
    seed = recording.config["seeds"][0]
    async with RecordedVerdicts(recording) as judge:
        for policy in policies:
            rows = [await _one(policy, problem, seed, engine, recording, judge) for problem in problems]
            found.append(
                Outcomes(
                    right=np.array([row[1] is Verdict.RIGHT for row in rows], dtype=bool),
                    unknown=np.array([row[1] is Verdict.UNKNOWN for row in rows], dtype=bool),
                    spent=np.array([row[2] for row in rows], dtype=np.int64),
                    answers=tuple(row[0] for row in rows),
                    looked=np.array([row[3][0] for row in rows]),
                    saw=np.array([row[3][1] for row in rows]),
                )
            )
            told()
    return found


async def _one(
    policy: Policy, problem: Problem, seed: int, engine: ReplayEngine, recording: Recording, judge: Judging
) -> tuple[str | None, Verdict, int, tuple[float, float]]:
    form = engine.profile.answer_form
    session = Session(
        engine, problem, seed=seed, chain_limit=recording.config["max_tokens"], temperature=recording.temperature,
        same=same, parse=functools.partial(extract_strict, form=form),
    )  # fmt: skip
    solution = await solve(policy, session)
    if solution.error:
        raise NotRecorded(f"{recording.folder}: {canonical(policy)}: {solution.error} ({problem.id})")
    answer = extract_strict(solution.text, form)
    return answer, await judge.verdict(problem, answer), solution.ledger.spent, first_look(solution.log)


def equal_answers(a: str | None, b: str | None) -> bool:
    """Return whether two answers are the same, as the verifier compares; none is the same as none alone."""
    return a == b if a is None or b is None else a == b or same(a, b)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Losses and spending of settings on some problems."""

    losses: NDArray[np.int8]  # [settings, problems]
    spent: NDArray[np.int64]  # [settings, problems] tokens
    full: NDArray[np.int64]  # [problems] tokens of the full chains
    classes: NDArray[np.int64]  # [problems] the class of each, from 0

    def part(self, chosen: NDArray[Any]) -> "Table":
        """Return the table of some of the problems, in the order given; a problem may be there twice."""
        return replace(
            self, losses=self.losses[:, chosen], spent=self.spent[:, chosen], full=self.full[chosen],
            classes=self.classes[chosen],
        )  # fmt: skip

    def savings(self) -> NDArray[np.float64]:
        """Return `[settings]`: the share of all tokens that each saves."""
        saved: NDArray[np.float64] = 1.0 - self.spent.sum(axis=1) / max(int(self.full.sum()), 1)
        return saved


def policies_of(specs: Iterable[str]) -> list[Policy]:
    """Build policies from their specs."""
    return [policy for spec in specs for policy in parse_policies(spec)]


def check_sizes(classes: NDArray[np.int64], names: Sequence[str], needed: int) -> None:
    """Raise `BadInput` when a class has fewer problems than any promise needs."""
    for number, name in enumerate(names):
        have = int((classes == number).sum())
        if have < needed:
            raise BadInput(
                f"{name}: {have} problems are left for the promise, and it takes {needed} even if none is lost. "
                "Give more problems (--limit), allow a larger loss (--max-loss), or less confidence."
            )
