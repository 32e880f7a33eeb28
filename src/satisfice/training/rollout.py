"""Sample rollouts of the policy that is being trained, and say of each what methods may want to know."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from satisfice.answers import extract_strict
from satisfice.core.chain import Chain
from satisfice.core.engine import Engine, Request
from satisfice.core.problem import Problem, Verdict
from satisfice.core.profile import Profile
from satisfice.core.rollouts import Rollouts
from satisfice.core.session import Session
from satisfice.core.shaper import RewardRange, Shaper, State, columns_of, worth
from satisfice.core.steering import Rolled, Steering, sampled_tokens
from satisfice.methods.shaping.laser_de import goes_in_circles
from satisfice.tasks import Task
from satisfice.tasks.judge import Judging

SAID = frozenset(
    {
        "answer_found", "decision_token", "finished", "first_new", "mode", "repetitive", "step_count",
        "thinking_closed", "turns", "well_formed", "words",
    }
)  # fmt: skip
"""Columns that are read off a rollout. Others must stand in the metadata of the problems."""


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
class AskGroup:
    """A group of rollouts that a steering shaper is to make."""

    problem: Problem
    group: int  # which prompt of the whole batch
    size: int  # rollouts
    limit: int  # most sampled tokens of each
    seed: int  # of its random numbers


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What the policy answered."""

    problem: Problem
    group: int
    prompt: tuple[int, ...]  # token ids
    ids: tuple[int, ...]  # token ids after the prompt, the end of the turn included
    truncated: bool  # the limit ended it
    verdict: Verdict
    columns: Mapping[str, float]
    spent: int  # tokens that were sampled for it, those of rollouts that it took the place of included
    mask: tuple[bool, ...] | None = None  # of `ids`: those that the loss counts; None: all
    injected: int = 0  # of `ids`: how many the policy did not sample
    parts: tuple[int, ...] = ()  # where in `ids` the part of each earlier step ended
    finished: bool = True  # it came to its end; otherwise it goes on in the next step


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


async def steer(
    engine: Engine,
    asks: Sequence[AskGroup],
    shaper: Steering,
    state: State,
    judge: Judging,
    *,
    temperature: float = 1.0,
) -> list[Rollout]:
    """Return groups as the shaper makes them, all at once; the rollouts of a group follow one another.

    What a group spent on chains that are no rollouts is booked on its first one.
    """

    async def one(ask: AskGroup) -> list[Rollout]:
        session = Session(engine, ask.problem, seed=ask.seed, chain_limit=ask.limit, temperature=temperature, top_p=1.0)
        known: dict[str, Rollout] = {}

        async def of(rolled: Rolled) -> Rollout:
            if rolled.chain.name not in known:
                known[rolled.chain.name] = await judged(_raw(ask, rolled), engine, judge)
            return known[rolled.chain.name]

        async def right(chain: Chain) -> bool:
            return (await of(Rolled(chain=chain))).verdict is Verdict.RIGHT

        async with session:
            group = await shaper.roll(session, ask.size, right, state)
            found = [
                replace(
                    await of(rolled),
                    mask=sampled_tokens(rolled.chain) if rolled.mask is None else rolled.mask,
                    columns={**(await of(rolled)).columns, **rolled.columns},
                )
                for rolled in group
            ]
            spent = sum(chain.sampled for chain in session.chains)
        rest = spent - sum(rollout.spent for rollout in found)
        return [replace(found[0], spent=found[0].spent + rest), *found[1:]]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(ask)) for ask in asks]
    return [rollout for task in tasks for rollout in task.result()]


def _raw(ask: AskGroup, rolled: Rolled) -> Rollout:
    chain = rolled.chain
    ids, end = tuple(chain.after_prompt()), chain.session.engine.end_ids
    return Rollout(
        problem=ask.problem, group=ask.group, prompt=tuple(chain.ids[: chain.prompt_length]), ids=ids,
        truncated=not ids or ids[-1] not in end, verdict=Verdict.UNKNOWN, columns={}, spent=chain.sampled,
        injected=len(ids) - sum(sampled_tokens(chain)),
    )  # fmt: skip


async def judged(rollout: Rollout, engine: Engine, judge: Judging) -> Rollout:
    """Return a copy of a rollout with the verdict and the columns of the tokens that it has now."""
    text = engine.decode([i for i in rollout.ids if i not in engine.end_ids])  # special tokens too: `</think>` is one
    thinking, closed, answer_text = text.partition(engine.profile.think_close)
    answer = extract_strict(answer_text, engine.profile.answer_form) if closed else None
    verdict = await judge.verdict(rollout.problem, answer)
    columns = said(thinking, bool(closed), answer_text, answer, rollout, engine.profile)
    return replace(rollout, verdict=verdict, columns=columns)


def said(
    thinking: str, closed: bool, answer_text: str, answer: str | None, rollout: Rollout, profile: Profile
) -> dict[str, float]:
    """Return the columns that can be read off a rollout."""
    closed_once = closed and profile.think_close not in answer_text and profile.think_open not in thinking
    return {
        "answer_found": float(answer is not None),
        "decision_token": 0.0 if rollout.ids else -1.0,  # thinking is open: it closes at once or goes on
        "finished": float(rollout.finished),
        "first_new": float(rollout.parts[-1] if rollout.parts else 0),
        "mode": float(bool(thinking.strip())),
        "repetitive": float(goes_in_circles(rollout.ids)),
        "step_count": float(sum(bool(step.strip()) for step in thinking.split(profile.step))),
        "thinking_closed": float(closed_once),
        "turns": 0.0,  # nobody calls a tool here
        "well_formed": float(closed_once and answer is not None and not rollout.truncated),
        "words": float(len(re.findall(r"\S+", answer_text))),
    }


def column_names(problems: Iterable[Problem], shaper: Shaper) -> frozenset[str]:
    """Return the columns for a shaper that every one of these problems brings along in its metadata."""
    names = {column.name for column in columns_of(shaper) if column.per == "rollout"}
    held = [{name for name in names if _is_number(problem.metadata.get(name))} for problem in problems]
    return frozenset(set.intersection(*held)) if held else frozenset()


def as_row(rollout: Rollout, named: Iterable[str]) -> dict[str, Any]:
    """What the other processes must know of a rollout: plain data. `named` are columns from the problem's metadata."""
    return {
        "group": rollout.group,
        "prompt": rollout.problem.id,
        "ids": list(rollout.ids),
        "mask": None if rollout.mask is None else list(rollout.mask),
        "length": len(rollout.ids) - rollout.injected,
        "parts": list(rollout.parts),
        "truncated": rollout.truncated,
        "verdict": rollout.verdict.value,
        "spent": rollout.spent,
        "columns": {**{name: float(rollout.problem.metadata[name]) for name in named}, **rollout.columns},
    }


def batch_of(
    rows: Sequence[Mapping[str, Any]],
    tokens: Mapping[str, Sequence[Sequence[float]]],
    kind: RewardRange = "0/1",
) -> Rollouts:
    """Return rows of `as_row`, all with a known verdict, as a batch.

    `tokens` are further columns, a list for each rollout; `kind` says what verdicts are worth.
    """
    width = max(len(row["ids"]) for row in rows)

    def wide(values: Sequence[Sequence[float]], kind: Any = np.float64) -> np.ndarray[Any, Any]:
        out = np.zeros((len(rows), width), dtype=kind)
        for row, line in zip(out, values, strict=True):
            row[: len(line)] = line
        return out

    correct = np.array([row["verdict"] == Verdict.RIGHT.value for row in rows])
    return Rollouts(
        group=np.array([row["group"] for row in rows]),
        correct=correct,
        reward=worth(correct, kind),
        length=np.array([row["length"] for row in rows]),
        truncated=np.array([row["truncated"] for row in rows]),
        prompt=np.array([row["prompt"] for row in rows]),
        columns={name: np.array([row["columns"][name] for row in rows]) for name in rows[0]["columns"]},
        tokens={
            "ids": wide([row["ids"] for row in rows], np.int64),
            "mask": wide([row["mask"] or [1] * len(row["ids"]) for row in rows], np.bool_),
            "segment": np.array([np.searchsorted(row["parts"], np.arange(width), side="right") for row in rows]),
            **{name: wide(values) for name, values in tokens.items()},
        },
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
