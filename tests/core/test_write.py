"""Chains that think and answer in one call, and chains that are made to answer."""

import asyncio

import pytest

from satisfice.core.chain import Chain
from satisfice.core.problem import Problem
from satisfice.core.session import Session
from satisfice.engines.scripted import ScriptedEngine

PROBLEM = Problem(id="p", task="t", question="1 + 1", answer="2")
TEXT = "a b</think>so 2"


async def made(script: str, *, finish: bool = False, **options: object) -> tuple[Chain, int]:
    """A chain that was written (or finished), and how many calls it took."""
    engine = ScriptedEngine(script)
    async with Session(engine, PROBLEM, **options) as session:  # type: ignore[arg-type]
        chain = session.chain()
        await (chain.finish() if finish else chain.write())
        chain.session.close_ledger(chain)
        return chain, sum(1 for event in session.log if event.kind == "pause")


def test_it_is_what_finish_makes_in_fewer_calls() -> None:
    (written, calls), (finished, more) = asyncio.run(made(TEXT)), asyncio.run(made(TEXT, finish=True))
    assert (calls, more) == (1, 2)
    for name in ("text", "thinking", "answer_text", "thought", "ended", "phase"):
        assert getattr(written, name) == getattr(finished, name), name
    assert written.session.ledger.spent == finished.session.ledger.spent


@pytest.mark.parametrize("limit", range(3, 12))
def test_a_limit_ends_the_thinking_and_the_reserve_answers(limit: int) -> None:
    chain, _ = asyncio.run(made("a " * 50, chain_limit=limit))
    assert (chain.ended, chain.phase) == ("limit", "done")
    long, _ = asyncio.run(made(TEXT + " and more" * 30, chain_limit=60))
    assert (long.ended, long.session.ledger.kept) == ("model", 60)
    assert long.answer_text.startswith("so 2 and more")


def test_a_turn_that_ends_inside_thinking_can_be_made_to_answer() -> None:
    async def work() -> Chain:
        engine = ScriptedEngine("a b")
        async with Session(engine, PROBLEM) as session:
            chain = await session.chain().write()
            assert (chain.ended, chain.phase, chain.answer_text) == ("turn", "done", "")
            await chain.answer_anyway()
            session.close_ledger(chain)
            return chain

    chain = asyncio.run(work())
    assert (chain.thinking, chain.answer_text, chain.ended) == ("a b", "?", "turn")
    assert chain.session.ledger.dropped == 1  # the end of the turn that was taken back


def test_without_answers_a_chain_is_done_where_its_thinking_ends() -> None:
    for finish in (True, False):
        chain, _ = asyncio.run(made(TEXT, answers=False, finish=finish))
        assert (chain.text, chain.phase, chain.answer_text) == ("a b</think>", "done", "")


def test_further_tokens_end_the_turn_and_a_prompt_stands_for_the_question() -> None:
    async def work() -> None:
        engine = ScriptedEngine(TEXT)
        [stop] = engine.encode("b")
        async with Session(engine, PROBLEM, stop_ids=frozenset({stop})) as session:
            chain = await session.chain().finish()
            assert (chain.text, chain.ended) == ("a b", "turn")

    asyncio.run(work())
