"""Sample rollouts of the policy that is being trained, and say of each what methods may want to know."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np

from satisfice.answers import extract_strict
from satisfice.core.engine import Engine, Request
from satisfice.core.problem import Problem, Verdict
from satisfice.core.profile import Profile
from satisfice.core.rollouts import COLUMNS, Rollouts
from satisfice.shaping.laser_de import goes_in_circles
from satisfice.tasks import Task

SAID = frozenset({"answer_found", "mode", "repetitive", "step_count", "thinking_closed", "well_formed", "words"})
"""Columns that are read off a rollout's text. Others must stand in the metadata of the problems."""


class Judging(Protocol):
    """Whoever says whether answers are right, as an async context manager."""

    async def verdict(self, problem: Problem, answer: str | None) -> Verdict: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: Any) -> None: ...


class DirectJudge:
    """Scores answers in this process: quick, and as safe as the scorers of the tasks are."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = {task.name: task for task in tasks}

    async def verdict(self, problem: Problem, answer: str | None) -> Verdict:
        """Say whether an answer is right. No answer is wrong."""
        return Verdict.WRONG if answer is None else self._tasks[problem.task].verify(problem, answer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: Any) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A rollout that is wanted."""

    problem: Problem
    group: int  # which prompt of the whole batch
    limit: int  # most tokens
    key: int  # of its random numbers


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What the policy answered."""

    problem: Problem
    group: int
    prompt: tuple[int, ...]  # token ids
    ids: tuple[int, ...]  # token ids that were sampled, the end of the turn included
    truncated: bool  # the limit ended it
    verdict: Verdict
    columns: Mapping[str, float]
    spent: int  # tokens that were sampled for it, those of rollouts that it took the place of included


async def sample(engine: Engine, asks: Sequence[Ask], judge: Judging, *, temperature: float = 1.0) -> list[Rollout]:
    """Answer every ask, all at once: plain sampling to the end of the turn or the limit, nothing put in.

    The prompt of a problem is read once for all its rollouts. Tokens depend on the ask's key alone.
    """
    bases = {ask.problem.id: engine.open(ask.problem.question, ask.problem.id) for ask in asks}

    async def one(ask: Ask) -> Rollout:
        base = bases[ask.problem.id]
        prompt = tuple(base.ids)
        sequence = base.fork(len(prompt))
        try:
            limit = max(1, min(ask.limit, engine.max_length - len(prompt)))
            got = await sequence.sample(
                Request(limit=limit, stop_ids=engine.end_ids, temperature=temperature, key=ask.key)
            )
        finally:
            sequence.close()
        raw = Rollout(
            problem=ask.problem, group=ask.group, prompt=prompt, ids=got.ids, truncated=got.reason != "token",
            verdict=Verdict.UNKNOWN, columns={}, spent=len(got.ids),
        )  # fmt: skip
        return await judged(raw, engine, judge)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(ask)) for ask in asks]
    finally:
        for base in bases.values():
            base.close()
    return [task.result() for task in tasks]


async def judged(rollout: Rollout, engine: Engine, judge: Judging) -> Rollout:
    """The same rollout with its verdict and its columns, by its tokens as they are now."""
    text = engine.decode([i for i in rollout.ids if i not in engine.end_ids])  # special tokens too: `</think>` is one
    thinking, closed, answer_text = text.partition(engine.profile.think_close)
    answer = extract_strict(answer_text, engine.profile.answer_form) if closed else None
    verdict = await judge.verdict(rollout.problem, answer)
    columns = said(thinking, bool(closed), answer_text, answer, rollout, engine.profile)
    return replace(rollout, verdict=verdict, columns=columns)


def said(
    thinking: str, closed: bool, answer_text: str, answer: str | None, rollout: Rollout, profile: Profile
) -> dict[str, float]:
    """The columns that can be read off a rollout."""
    closed_once = closed and profile.think_close not in answer_text and profile.think_open not in thinking
    return {
        "answer_found": float(answer is not None),
        "mode": float(bool(thinking.strip())),
        "repetitive": float(goes_in_circles(rollout.ids)),
        "step_count": float(sum(bool(step.strip()) for step in thinking.split(profile.step))),
        "thinking_closed": float(closed_once),
        "well_formed": float(closed_once and answer is not None and not rollout.truncated),
        "words": float(len(re.findall(r"\S+", answer_text))),
    }


def column_names(problems: Iterable[Problem]) -> frozenset[str]:
    """The columns that every one of these problems brings along in its metadata."""
    held = [{name for name in COLUMNS if _is_number(problem.metadata.get(name))} for problem in problems]
    return frozenset(set.intersection(*held)) if held else frozenset()


def as_row(rollout: Rollout, named: Iterable[str]) -> dict[str, Any]:
    """What the other processes must know of a rollout: plain data. `named` are columns from the problem's metadata."""
    return {
        "group": rollout.group,
        "prompt": rollout.problem.id,
        "ids": list(rollout.ids),
        "truncated": rollout.truncated,
        "verdict": rollout.verdict.value,
        "spent": rollout.spent,
        "columns": {**{name: float(rollout.problem.metadata[name]) for name in named}, **rollout.columns},
    }


def batch_of(rows: Sequence[Mapping[str, Any]], tokens: Mapping[str, Sequence[Sequence[float]]]) -> Rollouts:
    """Rows of `as_row`, all with a known verdict, as a batch; `tokens` are further columns, a list a rollout."""
    length = np.array([len(row["ids"]) for row in rows])
    width = int(length.max())

    def wide(values: Sequence[Sequence[float]], kind: Any = np.float64) -> np.ndarray[Any, Any]:
        out = np.zeros((len(rows), width), dtype=kind)
        for row, line in zip(out, values, strict=True):
            row[: len(line)] = line
        return out

    return Rollouts(
        group=np.array([row["group"] for row in rows]),
        correct=np.array([row["verdict"] == Verdict.RIGHT.value for row in rows]),
        length=length,
        truncated=np.array([row["truncated"] for row in rows]),
        prompt=np.array([row["prompt"] for row in rows]),
        columns={name: np.array([row["columns"][name] for row in rows]) for name in rows[0]["columns"]},
        tokens={
            "ids": wide([row["ids"] for row in rows], np.int64),
            "mask": np.arange(width) < length[:, None],
            "segment": np.zeros((len(rows), width), np.int64),
            **{name: wide(values) for name, values in tokens.items()},
        },
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
