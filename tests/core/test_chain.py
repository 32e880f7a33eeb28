"""Chains: cues that span tokens, held tokens, forks that leave the parent alone, spans."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.worlds import PROBLEM, engine, seeds

from satisfice.core.chain import Chain
from satisfice.core.engine import Sampled, Signals
from satisfice.core.session import Session
from satisfice.engines.scripted import ScriptedEngine

quick = settings(deadline=None, max_examples=60)


def inside(world: ScriptedEngine, work: Callable[[Session], Awaitable[Any]], **limits: Any) -> tuple[Any, Session]:
    session = Session(world, PROBLEM, **limits)

    async def run() -> Any:
        async with session:
            return await work(session)

    return asyncio.run(run()), session


def test_a_cue_that_spans_tokens_cuts_before_its_first_token_and_holds_the_rest() -> None:
    world = ScriptedEngine("so 4\nBut wait, no</think>4")  # "But wait," is four tokens

    async def work(session: Session) -> None:
        chain = session.chain()
        assert await chain.think(until=["But wait,"])
        assert (chain.thinking, chain.held_text) == ("so 4\n", "But wait,")
        assert (chain.last_text, len(chain), chain.sampled) == ("so 4\n", 4, 8)
        assert world.tokens == 8
        assert await chain.think(until=["But wait,"], limit=2), "going on takes the held tokens back"
        assert chain.thinking == "so 4\nBut wait, no"
        assert not await chain.think()
        assert (chain.ended, chain.thinking) == ("model", "so 4\nBut wait, no")
        assert chain.sampled == world.tokens == 11, "nothing is sampled or counted twice"

    inside(world, work)


def test_closing_at_a_cue_drops_the_held_tokens() -> None:
    world = ScriptedEngine("so 4\nBut wait, no</think>4")

    async def work(session: Session) -> Chain:
        chain = session.chain()
        await chain.think(until=["But wait,"])
        return await chain.close_thinking()

    chain, session = inside(world, work)
    ledger = session.close_ledger(chain)
    assert (chain.thinking, chain.answer_text, chain.ended) == ("so 4\n", "?", "rule")
    assert (ledger.kept, ledger.dropped, ledger.probe) == (6, 4, 0)
    assert ledger.spent == world.tokens


def test_a_returned_chain_that_still_holds_a_cue_does_not_keep_it() -> None:
    async def work(session: Session) -> Chain:
        chain = session.chain()
        await chain.think(until=["Wait"])
        return chain

    world = ScriptedEngine("so 4\nWait")
    chain, session = inside(world, work)
    ledger = session.close_ledger(chain)
    assert (ledger.kept, ledger.dropped, world.tokens) == (4, 1, 5)


@quick
@given(st.text(alphabet="abW ", max_size=30), st.sampled_from(["W", "aW", "bb", "W a", "aaa"]))
def test_a_pause_stands_exactly_where_the_text_first_appears(story: str, cue: str) -> None:
    world = ScriptedEngine("".join(f"<{c}>" if c == "b" else c for c in story) + "</think>1")
    whole = "".join(f"<{c}>" if c == "b" else c for c in story)
    cue = cue.replace("b", "<b>")

    async def work(session: Session) -> tuple[bool, str, str]:
        chain = session.chain()
        return await chain.think(until=[cue]), chain.thinking, chain.held_text

    (paused, thinking, held), _ = inside(world, work)
    tokens = world.encode(whole)
    texts = [world.decode(tokens[:n]) for n in range(len(tokens) + 1)]
    assert paused == (cue in whole)
    if paused:
        at = whole.find(cue)
        assert thinking == max((text for text in texts if len(text) <= at), key=len)
        assert held.find(cue) == at - len(thinking)


@quick
@given(seeds, st.integers(0, 20), st.integers(0, 30))
def test_a_fork_leaves_its_parent_untouched(seed: int, before: int, on: int) -> None:
    async def work(session: Session, *, forking: bool) -> tuple[str, int]:
        chain = session.chain()
        await chain.think(limit=before)
        if forking:
            ids, spans = chain.ids, chain.spans
            child = chain.fork().inject(" what if ")
            await child.sample(on)
            probe = chain.probe()
            await probe.think(limit=on)
            probe.drop()
            assert (chain.ids, chain.spans) == (ids, spans)
            assert child.ids[: len(ids)] == ids
        await chain.finish()
        return chain.text, chain.sampled

    apart, _ = inside(engine(seed), lambda session: work(session, forking=False))
    forked, _ = inside(engine(seed), lambda session: work(session, forking=True))
    assert apart == forked


@quick
@given(seeds, st.integers(0, 40))
def test_a_fork_of_a_chain_that_holds_a_cue_begins_before_it(seed: int, limit: int) -> None:
    async def work(session: Session) -> None:
        chain = session.chain()
        while await chain.think(until=["Wait"]):
            child = chain.fork()
            assert child.ids == chain.ids
            assert child.spans == chain.spans
            child.drop()

    inside(engine(seed), work)


@quick
@given(seeds, st.lists(st.integers(0, 9), max_size=8))
def test_pauses_change_no_token_and_neighbouring_tokens_of_one_origin_are_one_span(
    seed: int, limits: list[int]
) -> None:
    async def work(session: Session, limits: list[int]) -> Chain:
        chain = session.chain()
        for limit in limits:
            await chain.think(limit=limit)
        return await chain.finish()

    whole, _ = inside(engine(seed), lambda session: work(session, []))
    parts, _ = inside(engine(seed), lambda session: work(session, limits))
    assert parts.text == whole.text
    assert all((a.kind, a.by) != (b.kind, b.by) for a, b in itertools.pairwise(parts.spans))
    assert [i for span in parts.spans for i in span.ids] == parts.ids


def test_a_dropped_probe_adds_its_steps_to_the_chain_that_waited_for_it() -> None:
    async def work(session: Session) -> Chain:
        chain = session.chain()
        await chain.think(limit=3)
        probe = chain.probe()
        await probe.think(limit=2)
        probe.drop()
        assert chain.clock == 5
        return await chain.finish()

    chain, session = inside(ScriptedEngine("a b c d</think>1"), work)
    ledger = session.close_ledger(chain)
    assert ledger.steps == ledger.spent
    assert ledger.probe == 2


def test_a_fork_further_back_lacks_the_last_tokens_and_leaves_the_chain_alone() -> None:
    world = ScriptedEngine("so 4 or 5</think>4")

    async def work(session: Session) -> None:
        chain = session.chain()
        await chain.think(limit=5)
        other = chain.fork(back=2)
        assert (chain.thinking, other.thinking) == ("so 4 or", "so 4")
        await other.finish()
        assert other.thinking == "so 4 or 5"
        with pytest.raises(RuntimeError, match="while it thinks"):
            other.fork(back=1)

    inside(world, work)


def test_a_tap_hears_every_call_with_its_own_signals_added_to_those_asked_for() -> None:
    world, heard = ScriptedEngine("so 4\nWait 4\n</think>4"), list[Sampled]()

    async def work(session: Session) -> None:
        chain = session.chain()
        chain.tap(Signals(entropy=True), heard.append)
        await chain.think(until=["Wait"], signals=Signals(logprobs=True))
        await chain.probe().inject("</think>").sample(3)
        await chain.finish()

    inside(world, work)
    assert [got.logprobs is not None for got in heard] == [True, False, False], "the probe is not tapped"
    assert all(got.entropy is not None and len(got.entropy) == len(got.ids) for got in heard)


def test_what_a_tap_raises_reaches_whoever_asked_and_the_books_stay_right() -> None:
    world = ScriptedEngine("so 4\nWait 4\n</think>4")

    def hear(got: Sampled) -> None:
        raise InterruptedError

    async def work(session: Session) -> None:
        chain = session.chain()
        chain.tap(Signals(), hear)
        with pytest.raises(InterruptedError):
            await chain.think(until=["Wait"])

    _, session = inside(world, work)
    assert session.close_ledger(None).spent == world.tokens == 5


def test_another_question_has_its_own_prompt_which_counts_as_injected_once() -> None:
    world = ScriptedEngine("so 4</think>4")

    async def work(session: Session) -> Chain:
        first, second, own = session.chain("is it 4?"), session.chain("is it 4?"), session.chain(PROBLEM.question)
        assert world.decode(first.ids) == world.decode(second.ids) == "is it 4?<think>"
        assert (first.injected, second.injected, own.injected) == (len(first.ids), 0, 0)
        return await second.finish()

    chain, session = inside(world, work)
    assert chain.answer_text == "4"
    assert session.close_ledger(chain).injected == 7
    assert world.open_sequences == 0


def test_a_branch_thinks_on_from_within_a_thinking_that_is_over() -> None:
    async def work(session: Session) -> None:
        done = await session.chain().finish()
        assert (done.thought, len(done)) == (5, 8)  # `</think>`, the answer and the end of the turn are no thinking
        early = done.branch(1)
        assert (early.phase, early.text, early.thought) == ("think", "so", 1)
        await early.close_thinking()
        assert (early.thinking, early.answer_text, early.thought, early.ended) == ("so", "?", 1, "rule")
        assert [span.by for span in early.spans] == ["", done.name, early.name, early.name]
        assert (await done.branch(5).finish()).text == done.text
        with pytest.raises(RuntimeError, match="5 tokens of thinking"):
            done.branch(6)

    inside(ScriptedEngine("so 4 5</think>4"), work)


def test_what_was_thought_leaves_out_what_ended_it() -> None:
    async def work(session: Session) -> None:
        turned = session.chain()
        await turned.think()
        assert (turned.ended, turned.thought, len(turned)) == ("turn", 3, 4)
        cut = session.chain()
        await cut.think(limit=2)
        cut.inject("</think>")
        assert (cut.thought, len(cut)) == (2, 3)

    inside(ScriptedEngine("a b"), work)
