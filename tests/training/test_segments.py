"""Rollouts that grow over several steps: the same tokens as in one go, whole groups first come, plain data between."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.problem import Problem
from satisfice.engines import load_engine
from satisfice.tasks import load_task
from satisfice.training.rollout import Ask, DirectJudge, as_row, batch_of, sample
from satisfice.training.segments import Growing, Underway, as_rollouts, grow, grow_until

TASK = load_task("chain-sum:easy", split="train", limit=2)
KNOWN = {problem.id: problem for problem in TASK.problems}


def test_in_segments_a_rollout_has_the_tokens_that_it_has_in_one_go() -> None:
    async def run() -> Any:
        engine, judge = load_engine("pocket", rows=16, batch=16), DirectJudge([TASK])
        async with engine:
            begun = Underway().filled([(problem, 300) for problem in TASK.problems], 2, 2, seed=1)
            rows, halfway = begun.rows, []
            for _ in range(12):
                rows = tuple(await grow(engine, rows, KNOWN, 30, 1.0))
                halfway.append(await as_rollouts(engine, rows, KNOWN, judge))
            asks = [Ask(problem=KNOWN[row.problem], group=row.group, limit=300, key=row.key) for row in rows]
            return rows, halfway, await sample(engine, asks, judge)

    rows, halfway, whole = asyncio.run(run())
    assert [row.ids for row in rows] == [rollout.ids for rollout in whole]
    assert all(row.ended for row in rows)
    assert all(list(row.parts) == list(range(30, len(row.ids), 30)) for row in rows)
    first, last = halfway[0], halfway[-1]
    assert not any(rollout.finished or rollout.truncated for rollout in first)
    assert [rollout.spent for rollout in first] == [30] * 4
    assert [(one.verdict, one.columns["finished"]) for one in last] == [(one.verdict, 1) for one in whole]
    batch = batch_of([as_row(rollout, ()) for rollout in last], {})
    assert batch["segment"][0, :61].tolist() == [0] * 30 + [1] * 30 + [2]
    assert batch["first_new"][0] == rows[0].parts[-1]


def lengthen(lengths: dict[int, int], segment: int) -> Any:
    """Rollouts that end at the length that their key names."""

    def step(rows: Sequence[Growing]) -> list[Growing]:
        grown = []
        for row in rows:
            n = min(len(row.ids) + segment, lengths[row.key])
            parts = (*row.parts, len(row.ids)) if row.ids and not row.ended else row.parts
            grown.append(row if row.ended else replace(row, ids=(0,) * n, parts=parts, ended=n == lengths[row.key]))
        return grown

    return step


@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 3), st.integers(1, 40))
def test_every_group_is_trained_on_once_whole_and_nothing_is_sampled_twice(
    seed: int, want: int, size: int, segment: int
) -> None:
    rng = np.random.default_rng(seed)
    problem = Problem(id="p", task="t", question="q", answer="a")
    underway, lengths, spent, seen = Underway(), dict[int, int](), 0, list[int]()
    for _ in range(6):
        underway = underway.filled([(problem, 99)] * 2 * want, 2 * want, size, seed)
        for row in underway.rows:
            lengths.setdefault(row.key, int(rng.integers(1, 99)))
        cost, taken, underway = grow_until(underway, want, lengthen(lengths, segment), whole=True)
        spent += cost
        groups = [row.group for row in taken]
        assert all(groups.count(group) == size for group in groups)
        assert len(set(groups)) == want
        assert all(row.ended and len(row.ids) == lengths[row.key] for row in taken)
        seen += sorted(set(groups))
        assert underway == Underway.from_json(json.loads(json.dumps(underway.to_json())))
    assert len(set(seen)) == len(seen) == 6 * want
    assert spent == sum(lengths[row.key] for row in _all(seen, lengths, underway)) + sum(
        len(row.ids) for row in underway.rows
    )


def _all(seen: list[int], lengths: dict[int, int], underway: Underway) -> list[Growing]:
    left = {row.key for row in underway.rows}
    return [Growing(problem="p", group=0, key=key, limit=99) for key in lengths if key not in left]


def test_without_whole_groups_a_step_trains_on_all_and_what_ended_makes_room() -> None:
    problem = Problem(id="p", task="t", question="q", answer="a")
    underway = Underway().filled([(problem, 99)] * 3, 3, 1, seed=0)
    lengths = {row.key: n for row, n in zip(underway.rows, (5, 50, 12), strict=True)}
    spent, taken, left = grow_until(underway, 3, lengthen(lengths, 10), whole=False)
    assert (spent, [len(row.ids) for row in taken], [row.group for row in left.rows]) == (25, [5, 10, 10], [1, 2])
    filled = left.filled([(problem, 99)] * 3, 3, 1, seed=0)
    assert ([row.group for row in filled.rows], filled.groups) == ([1, 2, 3], 4)
    assert len({row.key for row in (*underway.rows, *filled.rows)}) == 4
