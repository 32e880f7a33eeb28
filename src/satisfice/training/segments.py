"""Rollouts that grow over several steps: which are on their way, which of them a step trains on, which are new."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from satisfice.core.engine import Engine, Request, random_key
from satisfice.core.problem import Problem, Verdict
from satisfice.tasks.judge import Judging
from satisfice.training.rollout import Rollout, judged


@dataclass(frozen=True, kw_only=True)
class Growing:
    """A rollout on its way: plain data, for checkpoints."""

    problem: str  # its id
    group: int  # serial number of its group among all groups of the training
    key: int  # of its random numbers
    limit: int  # most tokens
    ids: tuple[int, ...] = ()  # token ids so far
    parts: tuple[int, ...] = ()  # where in `ids` the part of each step but the latest ended
    ended: bool = False  # the model ended it, or its limit

    @property
    def new(self) -> int:
        """Tokens that the latest step sampled."""
        return len(self.ids) - (self.parts[-1] if self.parts else 0)


@dataclass(frozen=True, kw_only=True)
class Underway:
    """All rollouts on their way, in the order in which they were begun."""

    rows: tuple[Growing, ...] = ()
    groups: int = 0  # that were begun so far

    def filled(self, fresh: Sequence[tuple[Problem, int]], groups: int, size: int, seed: int) -> "Underway":
        """With new groups of `size` rollouts until there are `groups`; `fresh` are problems and their limits."""
        there, begun, rows = len({row.group for row in self.rows}), self.groups, list(self.rows)
        for problem, limit in fresh[: max(0, groups - there)]:
            for row in range(size):
                key = random_key(seed, begun, row)
                rows.append(Growing(problem=problem.id, group=begun, key=key, limit=limit))
            begun += 1
        return Underway(rows=tuple(rows), groups=begun)

    def complete(self) -> list[int]:
        """Return groups all of whose rollouts have ended, the oldest first."""
        waiting = {row.group for row in self.rows if not row.ended}
        return sorted({row.group for row in self.rows} - waiting)

    def without(self, groups: Iterable[int]) -> "Underway":
        """Return what is left when these groups are taken out."""
        gone = set(groups)
        return replace(self, rows=tuple(row for row in self.rows if row.group not in gone))

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"groups": self.groups, "rows": [asdict(row) for row in self.rows]}

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> "Underway":
        """Return what `to_json` wrote."""
        rows = ({**one, "ids": tuple(one["ids"]), "parts": tuple(one["parts"])} for one in row["rows"])
        return Underway(rows=tuple(Growing(**one) for one in rows), groups=row["groups"])


def grow_until(
    step: Underway, want: int, grow: Callable[[Sequence[Growing]], Sequence[Growing]], *, whole: bool
) -> tuple[int, list[Growing], Underway]:
    """Let rollouts grow segment by segment until a step has enough: tokens sampled, what it trains on, what is left.

    With `whole` that is `want` complete groups, the oldest of them, and what has not ended goes on in the next step;
    without, everything after one segment, and what has ended is taken out.
    """
    before = sum(len(row.ids) for row in step.rows)
    while True:
        step = replace(step, rows=tuple(grow(step.rows)))
        if not whole or len(step.complete()) >= want:
            break
    spent = sum(len(row.ids) for row in step.rows) - before
    if not whole:
        return spent, list(step.rows), step.without(step.complete())
    ready = step.complete()[:want]
    return spent, [row for row in step.rows if row.group in set(ready)], step.without(ready)


async def grow(
    engine: Engine, rows: Sequence[Growing], problems: Mapping[str, Problem], segment: int, temperature: float
) -> list[Growing]:
    """Let every rollout that has not ended grow by at most `segment` tokens, all at once.

    Tokens depend on the rollout's key and the weights of the step alone. What was sampled before is read again.
    """

    async def one(row: Growing) -> Growing:
        if row.ended:
            return row
        problem = problems[row.problem]
        sequence = engine.open(problem.question, problem.id)
        try:
            most = min(row.limit, engine.max_length - len(sequence.ids))
            sequence.extend(list(row.ids))
            limit = max(0, min(segment, most - len(row.ids)))
            got = await sequence.sample(
                Request(limit=limit, stop_ids=engine.end_ids, temperature=temperature, key=row.key)
            )
        finally:
            sequence.close()
        ids = (*row.ids, *got.ids)
        parts = (*row.parts, len(row.ids)) if row.ids else row.parts
        return replace(row, ids=ids, parts=parts, ended=got.reason == "token" or len(ids) >= most)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(row)) for row in rows]
    return [task.result() for task in tasks]


async def as_rollouts(
    engine: Engine, rows: Sequence[Growing], problems: Mapping[str, Problem], judge: Judging
) -> list[Rollout]:
    """Return rollouts as the trainer knows them, judged as far as they have come; groups keep their serial numbers."""
    return [await judged(_raw(engine, row, problems[row.problem]), engine, judge) for row in rows]


def _raw(engine: Engine, row: Growing, problem: Problem) -> Rollout:
    base = engine.open(problem.question, problem.id)
    prompt = tuple(base.ids)
    base.close()
    cut = row.ended and (not row.ids or row.ids[-1] not in engine.end_ids)
    return Rollout(
        problem=problem, group=row.group, prompt=prompt, ids=row.ids, verdict=Verdict.UNKNOWN, columns={},
        truncated=cut, spent=row.new, parts=row.parts, finished=row.ended,
    )  # fmt: skip
