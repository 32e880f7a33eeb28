"""Sessions: everything is freed and everything is counted, however they end; budgets bind."""

import asyncio
import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.worlds import PROBLEM, Wanderer, engine, moves, seeds

from satisfice.core.errors import BadInput
from satisfice.core.session import Session, Solution, solve
from satisfice.engines.scripted import ScriptedEngine
from satisfice.methods.stopping.deer import Deer
from satisfice.methods.stopping.es_cot import EsCot
from satisfice.methods.stopping.fixed_budget import FixedBudget
from satisfice.methods.stopping.full import Full

quick = settings(deadline=None, max_examples=60)


def run(policy: Any, world: ScriptedEngine, **limits: Any) -> Solution:
    return asyncio.run(solve(policy, Session(world, PROBLEM, **limits)))


def check_books(world: ScriptedEngine, session: Session) -> None:
    assert world.open_sequences == 0
    assert session.ledger.spent == world.tokens
    assert session.ledger.spent == session.ledger.kept + session.ledger.probe + session.ledger.dropped


def spans_of(solution: Solution, world: ScriptedEngine) -> list[tuple[str, str]]:
    return [(span.kind, world.decode(list(span.ids))) for span in solution.spans]


NEVER = [Deer(threshold=1.0), EsCot(d_min=1000), EsCot(d_min=1000, trigger="cue"), FixedBudget(tokens=900)]


@quick
@given(seeds, st.sampled_from(NEVER))
def test_a_rule_that_never_fires_returns_token_for_token_what_no_rule_returns(seed: int, rule: Any) -> None:
    world, other = engine(seed), engine(seed)
    free, ruled = run(Full(), world), run(rule, other)
    assert spans_of(free, world) == spans_of(ruled, other)
    assert (free.text, free.thinking, free.ended) == (ruled.text, ruled.thinking, ruled.ended)
    assert free.ledger.kept == ruled.ledger.kept
    assert ruled.ledger.dropped == 0


@quick
@given(seeds, st.sampled_from(NEVER))
def test_the_same_among_64_other_chains(seed: int, rule: Any) -> None:
    world, crowd = engine(seed), engine(seed)
    alone = run(Full(), world)

    async def together() -> Solution:
        others = [solve(Full(), Session(crowd, dataclasses.replace(PROBLEM, id=str(n)))) for n in range(64)]
        return (await asyncio.gather(solve(rule, Session(crowd, PROBLEM)), *others))[0]

    assert spans_of(asyncio.run(together()), crowd) == spans_of(alone, world)


@quick
@given(seeds, moves)
def test_leaving_by_return_frees_everything_and_every_token_has_one_label(seed: int, moves: list[Any]) -> None:
    world = engine(seed)
    session = Session(world, PROBLEM)
    solution = asyncio.run(solve(Wanderer(moves=tuple(moves)), session))
    assert not solution.error
    check_books(world, session)
    on_chain = {
        kind: sum(len(span.ids) for span in solution.spans if span.kind == kind) for kind in ("sampled", "injected")
    }
    assert session.ledger.kept == on_chain["sampled"]
    assert session.ledger.injected >= on_chain["injected"]


@quick
@given(seeds, moves, st.integers(0, 200))
def test_leaving_by_an_engines_error_frees_everything_and_keeps_the_books(seed: int, moves: list[Any], at: int) -> None:
    world = engine(seed, fail_at=at)
    session = Session(world, PROBLEM)
    solution = asyncio.run(solve(Wanderer(moves=tuple(moves)), session))
    check_books(world, session)
    if world.tokens >= at:
        assert solution.error == "" or "the script fails" in solution.error
    if solution.error:
        assert (solution.text, solution.ledger.kept) == ("", 0)


@quick
@given(seeds, moves, st.integers(0, 300))
def test_leaving_by_cancellation_at_any_step_frees_everything_and_keeps_the_books(
    seed: int, moves: list[Any], turns: int
) -> None:
    world = engine(seed)
    session = Session(world, PROBLEM)

    async def cancelled() -> int:
        task = asyncio.ensure_future(solve(Wanderer(moves=tuple(moves)), session))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        known = world.tokens
        await asyncio.wait([task])
        return world.tokens - known

    at_once = 4 if any(move == "race" for move, _ in moves) else 1  # chains
    assert asyncio.run(cancelled()) <= at_once, "cancelling stops within one decode step"
    check_books(world, session)


def test_an_error_of_the_policy_itself_fails_that_one_problem() -> None:
    class Confused:
        async def __call__(self, session: Session) -> Any:
            await session.chain().think(limit=5)
            raise ZeroDivisionError("no idea")

    world = engine(1)
    solution = run(Confused(), world)
    assert solution.error == "ZeroDivisionError: no idea"
    assert solution.ledger.spent == solution.ledger.dropped == world.tokens == 5


@quick
@given(seeds, moves, st.integers(1, 150))
def test_budgets_bind(seed: int, moves: list[Any], budget: int) -> None:
    world = engine(seed)
    solution = run(Wanderer(moves=tuple(moves)), world, budget=budget)
    assert solution.ledger.spent == world.tokens <= budget


@quick
@given(seeds, st.integers(1, 150), st.sampled_from([Full(), Deer(), EsCot(d_min=2), FixedBudget(tokens=30)]))
def test_a_binding_budget_leaves_the_reserve_for_the_answer(seed: int, budget: int, rule: Any) -> None:
    world = engine(seed)
    solution = run(rule, world, budget=budget)
    ledger = solution.ledger
    assert ledger.spent <= budget
    assert not solution.error
    if solution.ended == "limit":  # then thinking and looking stopped in front of the reserve
        reserve = min(budget, world.profile.answer_tokens)
        answer = len(solution.spans[-1].ids) if solution.spans[-1].kind == "sampled" else 0
        assert ledger.spent - answer <= budget - reserve
        assert answer > 0


@quick
@given(seeds, st.integers(1, 80))
def test_a_binding_chain_limit_counts_as_truncated_and_answers_out_of_the_reserve(seed: int, limit: int) -> None:
    world, other = engine(seed), engine(seed)
    free, bound = run(Full(), world), run(Full(), other, chain_limit=limit)
    assert bound.ledger.spent <= limit
    if bound.ended != "limit" and bound.ledger.spent < limit:
        assert spans_of(free, world) == spans_of(bound, other)


def test_chains_that_share_a_budget_all_find_some_of_it() -> None:
    class Four:
        async def __call__(self, session: Session) -> Any:
            tasks = [session.start(session.chain().finish()) for _ in range(4)]
            await asyncio.wait(tasks)
            return tasks[0].result()

    world = ScriptedEngine("word " * 400)
    session = Session(world, PROBLEM, budget=200)
    solution = asyncio.run(solve(Four(), session))
    assert not solution.error
    assert world.tokens <= 200
    assert solution.text, "the answer came out of the reserve"
    assert all(chain.sampled >= 10 for chain in session._chains)


@pytest.mark.parametrize("name", ["chain_limit", "budget"])
def test_a_limit_below_one_token_is_refused_before_anything_is_opened(name: str) -> None:
    world = engine(0)
    with pytest.raises(BadInput, match=f"{name} must be at least 1"):
        Session(world, PROBLEM, **{name: 0})
    assert world.open_sequences == 0
