"""Races: who ends first is told by decode steps, and losers are freed."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.worlds import PROBLEM

from satisfice.core.chain import Chain
from satisfice.core.engine import Request
from satisfice.core.race import PACE, settle_tasks
from satisfice.core.session import Session
from satisfice.engines.scripted import END, ScriptedEngine


def counting(so_far: str, request: Request) -> str:
    return END if "</think>" in so_far else "x" if len(so_far) < 400 else "</think>"


async def line(session: Session, steps: int) -> Chain:
    """Think for so many tokens, then answer."""
    chain = session.chain()
    await chain.think(limit=steps)
    return await chain.close_thinking()


def run(race: Callable[[Session], object]) -> tuple[Session, ScriptedEngine]:
    engine = ScriptedEngine(counting)

    async def whole() -> Session:
        async with Session(engine, PROBLEM) as session:
            await race(session)  # type: ignore[misc]
        return session

    return asyncio.run(whole()), engine


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_chains_come_by_decode_step_and_then_by_number(steps: list[int]) -> None:
    order: list[tuple[int, int]] = []

    async def race(session: Session) -> None:
        async with session.race([line(session, n) for n in steps]) as race:
            async for chain in race:
                order.append((chain.clock, int(chain.name)))

    _, engine = run(race)
    assert sorted(number for _, number in order) == list(range(len(steps)))
    assert order == sorted(order)
    assert engine.open_sequences == 0


@given(st.lists(st.integers(1, 300), min_size=2, max_size=5))
def test_losers_sample_at_most_one_pace_beyond_the_winner_and_are_dropped(steps: list[int]) -> None:
    winners: list[Chain] = []

    async def race(session: Session) -> None:
        async with session.race([line(session, n) for n in steps]) as race:
            async for chain in race:
                winners.append(chain)
                break

    session, engine = run(race)
    assert min(steps) <= winners[0].clock
    assert all(chain.clock <= winners[0].clock + PACE for chain in session.chains)
    assert engine.open_sequences == 0


def test_a_failing_line_fails_the_race_and_frees_the_others() -> None:
    async def fails(session: Session) -> Chain:
        await session.chain().think(limit=3)
        raise RuntimeError("no idea")

    async def race(session: Session) -> None:
        async with session.race([line(session, 50), fails(session)]) as race:
            async for _ in race:
                pass

    with pytest.raises(RuntimeError, match="no idea"):
        run(race)


def test_tasks_are_settled_even_when_the_waiting_is_cancelled() -> None:
    ended: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)  # cleans up
            ended.append("stubborn")

    async def settle(tasks: Sequence["asyncio.Task[None]"]) -> None:
        await settle_tasks(tasks)

    async def main() -> None:
        tasks = [asyncio.create_task(stubborn()) for _ in range(2)]
        await asyncio.sleep(0)
        settling = asyncio.create_task(settle(tasks))
        await asyncio.sleep(0)
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling
        assert ended == ["stubborn"] * 2

    asyncio.run(main())
