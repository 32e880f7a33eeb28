"""Rollouts over a server that answers whole requests: what verl's client gives, over the pocket model."""

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from satisfice.catalog import build, check_fit
from satisfice.core.errors import EngineError, Unfit
from satisfice.core.problem import Problem, Verdict
from satisfice.core.session import Session, solve
from satisfice.engines.local.engine import LocalEngine
from satisfice.methods.shaping.s_grpo import SGrpo
from satisfice.models.resolve import model_folder
from satisfice.tasks import load_task
from satisfice.training.rollout import Ask, AskGroup, sample, steer
from satisfice.training.verl.judging import RowJudge, problem_of
from satisfice.training.verl.prepare import rows_of
from satisfice.training.verl.server import PART, ServerEngine, answer, words_of


def in_a_loop(test: Any) -> Any:
    """A coroutine as a test."""

    @functools.wraps(test)
    def run(*arguments: Any, **more: Any) -> None:
        asyncio.run(test(*arguments, **more))

    return run


TASK = load_task("chain-sum:easy", split="train", limit=3)


class Client:
    """verl's client, less Ray: every call is one request to our local engine."""

    def __init__(self, engine: LocalEngine) -> None:
        self.engine, self.asked = engine, list[dict[str, Any]]()

    async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any:
        self.asked.append(sampling_params)
        got = await answer(self.engine, prompt_ids, sampling_params)
        return SimpleNamespace(token_ids=list(got.ids), stop_reason="completed", extra_fields={"global_steps": 4})


@asynccontextmanager
async def served(problem: Problem, **more: Any) -> AsyncIterator[tuple[ServerEngine, LocalEngine, Client]]:
    words, profile = words_of(str(model_folder("pocket")), None)
    async with LocalEngine("pocket") as local:
        client = Client(local)
        prompt = words.encode(words.render(problem.question, profile))
        yield (
            ServerEngine(
                client, words, profile, prompt=prompt, question=problem.question, max_length=600,
                settings={"top_p": 1.0, "temperature": 9.0, "logprobs": False}, **more,
            ),
            local,
            client,
        )  # fmt: skip


def row_of(problem: Problem) -> dict[str, Any]:
    """A row as verl hands it to an agent loop."""
    (row,) = (row for row in rows_of(TASK) if row["extra_info"]["id"] == problem.id)
    return {**row, "raw_prompt": row["prompt"]}


def test_a_problem_goes_through_verls_form_of_data_and_is_verified() -> None:
    for problem in TASK.problems:
        back = problem_of(row_of(problem))
        assert (back.id, back.task, back.question, back.answer) == (
            problem.id, problem.task, problem.question, problem.answer,
        )  # fmt: skip


@in_a_loop
async def test_rows_are_judged_by_their_task_or_by_the_users_function() -> None:
    problem = problem_of(row_of(TASK.problems[0]))
    profile = words_of(str(model_folder("pocket")), None)[1]
    judge = RowJudge(profile)
    assert await judge.verdict(problem, problem.answer) is Verdict.RIGHT
    assert await judge.verdict(problem, "no number") is Verdict.WRONG
    assert await judge.verdict(problem, None) is Verdict.WRONG
    elsewhere = Problem(id="1", task="somebody/else", question="?", answer="1/2")
    assert await judge.verdict(elsewhere, "0.5") is Verdict.RIGHT

    def score(data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any]) -> dict[str, float]:
        return {"score": float(ground_truth in solution_str), "neatness": 0.25}

    assert await RowJudge(profile, score).scored(problem, f"so {problem.answer}") == (Verdict.RIGHT, {"neatness": 0.25})
    assert await RowJudge(profile, score).verdict(problem, "nothing") is Verdict.WRONG
    broken = RowJudge(profile, lambda **asked: 1 / 0)
    assert (await broken.scored(problem, "x"))[0] is Verdict.UNKNOWN


@in_a_loop
async def test_a_greedy_rollout_is_the_local_engines() -> None:
    problem = TASK.problems[0]
    async with served(problem) as (engine, local, client):
        judge = RowJudge(engine.profile)
        ask = Ask(problem=problem, group=0, limit=400, key=1)
        (ours,) = await sample(engine, [ask], judge, temperature=0.0)
        (theirs,) = await sample(local, [ask], judge, temperature=0.0)
    assert ours == theirs
    assert len(client.asked) == 1  # nothing to look for on the way: one request
    assert client.asked[0]["temperature"] == 0.0
    assert "seed" not in client.asked[0]
    assert engine.versions == [4]


@in_a_loop
async def test_a_cap_ends_a_rollout() -> None:
    problem = TASK.problems[0]
    async with served(problem, seeded=True) as (engine, _, client):
        asks = [Ask(problem=problem, group=0, limit=12, key=key) for key in (1, 1, 2)]
        one, again, other = await sample(engine, asks, RowJudge(engine.profile), temperature=3.0)
    assert len(one.ids) == 12
    assert one.truncated
    assert one.ids == again.ids != other.ids
    assert {asked["max_tokens"] for asked in client.asked} == {12}


@pytest.mark.parametrize("rule", ["first-cue", "fixed-budget:40", "full"])
@in_a_loop
async def test_stop_rules_run_over_it_as_over_the_local_engine(rule: str) -> None:
    problem = TASK.problems[1]
    async with served(problem) as (engine, local, client):
        policy = build(rule)
        check_fit([policy], "verl's servers", engine.provides)
        ours = await solve(policy, Session(engine, problem, chain_limit=400, temperature=0.0))
        theirs = await solve(policy, Session(local, problem, chain_limit=400, temperature=0.0))
    assert ours.text == theirs.text
    assert ours.spans == theirs.spans
    assert engine.sampled <= ours.ledger.spent + PART * len(client.asked)


@in_a_loop
async def test_a_steering_shaper_makes_its_group_over_it() -> None:
    problem = TASK.problems[2]
    async with served(problem, seeded=True) as (engine, _, _client):
        ask = AskGroup(problem=problem, group=0, size=4, limit=300, seed=3)
        group = await steer(engine, [ask], SGrpo(), {}, RowJudge(engine.profile), temperature=1.0)
    assert [rollout.columns["exit"] for rollout in group] == [0, 1, 2, 3]
    whole = group[-1]
    for early in group[:-1]:
        assert engine.encode(engine.profile.think_close)[0] in early.ids
        assert early.mask is not None
        assert len(early.mask) == len(early.ids)
        assert not all(early.mask)  # the words that closed it
    assert whole.verdict in (Verdict.RIGHT, Verdict.WRONG)


@in_a_loop
async def test_what_servers_do_not_give_is_refused() -> None:
    problem = TASK.problems[0]
    async with served(problem) as (engine, _, _client):
        with pytest.raises(Unfit):
            check_fit([build("deer")], "verl's servers", engine.provides)
        from satisfice.core.engine import Request, Signals

        sequence = engine.open(problem.question, "x")
        with pytest.raises(EngineError, match="no signals"):
            await sequence.sample(Request(limit=4, signals=Signals(logprobs=True)))
        with pytest.raises(EngineError, match="no samplers"):
            await sequence.sample(Request(limit=4, bias={3: 1.0}))
