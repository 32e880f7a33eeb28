"""What holds for all policies over several chains: rules inside, budgets, cancelling, and an engine with few slots."""

import asyncio
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.worlds import PROBLEM, engine, seeds
from tests.methods.parallel.policies import SMALL, small

from satisfice.catalog import canonical
from satisfice.core.engine import random_key
from satisfice.core.session import Session, solve
from satisfice.methods.parallel import FAMILY
from satisfice.testing import check_method
from satisfice.testing.policies import play

NESTING = [name for name, method in FAMILY.methods.items() if any(field.name == "stop" for field in fields(method))]  # type: ignore[arg-type]
quick = settings(deadline=None, max_examples=80)


def test_every_policy_is_tried_here_and_all_but_one_take_a_rule() -> None:
    assert set(SMALL) <= set(FAMILY.methods)
    assert "cntp" not in NESTING, "which samples by itself"


@pytest.mark.parametrize("name", NESTING)
def test_every_policy_composes_with_a_rule_that_looks_and_one_that_cuts(name: str) -> None:
    for stop, measure in (("deer(threshold=0.9)", "confidence"), ("cap:3", "thinking tokens")):
        solutions, engine = play(small(name, stop), range(4))
        assert not [solution.error for solution in solutions if solution.error]
        assert sum(solution.ledger.spent for solution in solutions) == engine.tokens
        assert engine.open_sequences == 0
        if name == "leap":
            continue  # what it puts into a chain ends the battery's stories; test_leap.py has the rule take over
        looked = [event for solution in solutions for event in solution.log if event.kind == "look"]
        assert any(event.data["measure"] == measure for event in looked), f"{stop} never looked inside {name}"


@pytest.mark.slow
@pytest.mark.parametrize("name", NESTING)
def test_compositions_pass_the_battery(name: str) -> None:
    check_method(small(name, "deer(threshold=0.9)"))
    check_method(small(name, "self-consistency(n=2, stop=first-cue)"))


@quick
@given(st.sampled_from(sorted(FAMILY.methods)), st.booleans(), seeds, st.integers(1, 400))
def test_budgets_bind_over_all_chains(name: str, inside: bool, seed: int, budget: int) -> None:
    world = engine(seed)
    policy = small(name, "deer(threshold=0.9)" if inside and name in NESTING else "")
    solution = asyncio.run(solve(policy, Session(world, PROBLEM, budget=budget)))
    assert not solution.error, canonical(policy)
    assert solution.ledger.spent == world.tokens <= budget


@quick
@given(
    st.sampled_from(sorted(FAMILY.methods)), st.booleans(), seeds, st.integers(0, 400), st.none() | st.integers(20, 400)
)
def test_cancelling_stops_the_spending_and_the_books_hold_what_the_engine_did(
    name: str, inside: bool, seed: int, turns: int, budget: int | None
) -> None:
    world = engine(seed)
    policy = small(name, "deer(threshold=0.9)" if inside and name in NESTING else "")
    session = Session(world, PROBLEM, budget=budget)

    async def cancelled() -> int:
        task = asyncio.ensure_future(solve(policy, session))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        known = world.tokens
        await asyncio.wait([task])
        return world.tokens - known

    after = asyncio.run(cancelled())
    assert after <= len(session.chains), "each chain stops within one decode step"
    assert world.open_sequences == 0
    ledger = session.ledger
    assert ledger.spent == world.tokens == ledger.kept + ledger.probe + ledger.dropped


@pytest.mark.slow
def test_on_the_pocket_model_with_fewer_slots_than_chains_and_random_cancelling_the_books_hold() -> None:
    from satisfice.engines.local.engine import LocalEngine
    from satisfice.tasks import load_task

    problems = load_task("chain-sum:easy", split="calibration", limit=2).problems
    engine = LocalEngine("pocket", rows=6, batch=2)
    policies = [small(name, "deer" if name in NESTING and i % 2 else "") for i, name in enumerate(FAMILY.methods)]
    sessions: list[Session] = []

    async def one(policy: Any, problem: Any, cut: int) -> None:
        session = Session(engine, problem, chain_limit=120)
        sessions.append(session)
        task = asyncio.ensure_future(solve(policy, session))
        if cut % 3 == 0:
            await asyncio.sleep(cut % 97 / 100)
            task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            assert not task.result().error, canonical(policy)

    async def all_of_them() -> None:
        async with engine:
            await asyncio.gather(*(one(p, q, random_key(canonical(p), q.id)) for p in policies for q in problems))

    asyncio.run(all_of_them())
    assert engine.counters.sampled == sum(session.ledger.spent for session in sessions)
    assert engine.rows_in_use == 0
