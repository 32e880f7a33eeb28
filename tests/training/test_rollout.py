"""Rollouts: sampled by an engine, judged with their special tokens, described for methods."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from satisfice.core.problem import Problem, Verdict
from satisfice.engines import load_engine
from satisfice.methods.shaping.l1_max import L1Max
from satisfice.methods.shaping.s_grpo import SGrpo
from satisfice.tasks import load_task
from satisfice.training.rollout import (
    SAID,
    Ask,
    AskGroup,
    DirectJudge,
    as_row,
    batch_of,
    column_names,
    judged,
    sample,
    steer,
)

TASK = load_task("chain-sum:easy", split="train", limit=2)


@pytest.fixture(scope="module")
def answers() -> Any:
    async def run() -> Any:
        engine = load_engine("pocket", rows=16, batch=16)
        judge = DirectJudge([TASK])
        asks = [
            Ask(problem=problem, group=g, limit=limit, key=key)
            for g, problem in enumerate(TASK.problems)
            for limit, key in ((400, 1), (400, 2), (400, 1), (7, 1))
        ]
        async with engine:
            got = await sample(engine, asks, judge)
            cut = await judged(replace(got[0], ids=got[0].ids[:5]), engine, judge)
            async with asyncio.timeout(60):  # every sequence is closed, and its row let go of
                while engine.rows_in_use:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            return got, cut, engine

    return asyncio.run(run())


def test_the_same_key_gives_the_same_tokens_and_a_limit_ends_a_rollout(answers: Any) -> None:
    got, _, engine = answers
    one, other, again, short = got[:4]
    assert one.ids == again.ids != other.ids
    assert short.ids == one.ids[:7]
    assert [r.truncated for r in got[:4]] == [False, False, False, True]
    assert one.ids[-1] in engine.end_ids


def test_verdicts_read_the_answer_after_the_thinking_and_columns_say_how_it_was_written(answers: Any) -> None:
    got, cut, engine = answers
    assert got[3].verdict is Verdict.WRONG
    one = next(r for r in got if r.verdict is Verdict.RIGHT)
    assert engine.decode(list(one.ids)).partition("</think>")[2].startswith(one.problem.answer)
    assert set(one.columns) == SAID
    assert one.columns["well_formed"] == one.columns["thinking_closed"] == one.columns["answer_found"] == 1
    assert one.columns["step_count"] >= 2
    assert (cut.verdict, cut.columns["thinking_closed"], cut.columns["answer_found"]) == (Verdict.WRONG, 0, 0)


def test_rows_become_a_batch(answers: Any) -> None:
    got = answers[0]
    rows = [as_row(rollout, ()) for rollout in got]
    batch = batch_of(rows, {"entropy": [[0.5] * len(row["ids"]) for row in rows]})
    assert batch.length.tolist() == [len(r.ids) for r in got]
    assert batch.groups.count == 2
    assert batch.prompts()[:4] == [TASK.problems[0].id] * 4
    assert (batch["mask"].sum(1) == batch.length).all()
    assert np.array_equal(batch["entropy"] > 0, batch["mask"])
    assert batch["ids"][3, :7].tolist() == list(got[3].ids)


def problem(**metadata: Any) -> Problem:
    return Problem(id="x", task="t", question="q", answer="1", metadata=metadata)


def test_columns_of_problems_are_those_that_all_of_them_have() -> None:
    some = [problem(budget=3, level=1.0, index=7), problem(budget=5, level=True), problem(budget=9, level=None)]
    assert column_names(some, L1Max()) == {"budget"}
    assert column_names([], L1Max()) == set()


def test_a_steered_group_is_described_like_any_other_and_pays_for_every_chain() -> None:
    shaper = SGrpo(places="even", train="answer")

    async def run() -> Any:
        engine = load_engine("pocket", rows=16, batch=16)
        asks = [AskGroup(problem=p, group=g, size=4, limit=300, seed=5) for g, p in enumerate(TASK.problems)]
        async with engine:
            return await steer(engine, asks, shaper, {}, DirectJudge([TASK])), engine

    got, engine = asyncio.run(run())
    assert [rollout.group for rollout in got] == [0] * 4 + [1] * 4
    whole, exits = got[3], got[:3]
    assert (whole.verdict, whole.injected, whole.mask) == (Verdict.RIGHT, 0, (True,) * len(whole.ids))
    assert whole.spent == len(whole.ids)
    close = engine.encode("</think>")[0]
    for rollout in exits:
        at = rollout.ids.index(close)
        assert rollout.ids[:at] == whole.ids[:at]  # thought once, for the whole chain
        assert rollout.mask == (False,) * (at + 1) + (True,) * (len(rollout.ids) - at - 1)
        assert (rollout.injected, rollout.spent) == (1, len(rollout.ids) - at - 1)
    batch = batch_of([as_row(rollout, ()) for rollout in got], {})
    assert batch.length[:4].tolist() == [*(len(r.ids) - 1 for r in exits), len(whole.ids)]
    assert batch["exit"].tolist() == [0, 1, 2, 3] * 2
    assert batch["mask"][0].sum() == exits[0].spent
    assert np.isfinite(shaper(batch).advantage).all()
