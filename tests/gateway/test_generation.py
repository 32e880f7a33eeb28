"""One request: what is shown as it comes is what comes out, and time that runs out still ends in an answer."""

import asyncio
import itertools
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from tests.gateway.engines import Served, scripted

from satisfice.catalog import build
from satisfice.core.card import Card
from satisfice.core.chain import Chain
from satisfice.core.errors import BadInput, EngineError
from satisfice.core.session import Policy, Session
from satisfice.engines.local.engine import LocalEngine
from satisfice.gateway.failures import OutOfTime, TakenBack
from satisfice.gateway.generation import Generation, Outcome
from satisfice.gateway.parameters import Parameters, Plain, Whole
from satisfice.gateway.prompts import Prompt
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.settings import Limits
from satisfice.methods.stopping import FAMILY
from satisfice.tasks import load_task

TEXT = "a b c Wait, d e f Wait, g h i</think>so 46 it is"
PLAN = Parameters(policy=Whole(), name="full", live=True, chain_limit=200, seed=1)


async def go(plan: Parameters, engine: Served | LocalEngine, prompt: str = "1 + 1<think>", **limits: float) -> tuple[
    Outcome, list[Delta], Generation
]:  # fmt: skip
    run = Generation(plan, engine, Prompt(text=prompt, question="1 + 1", thinks=plan.thinks), Limits(**limits))  # type: ignore[arg-type]
    pieces: list[Delta] = []

    async def show(new: list[Delta]) -> None:
        pieces.extend(new)

    return await run.go(show), pieces, run


def text(pieces: list[Delta], kind: str) -> str:
    return "".join(piece.text for piece in pieces if piece.kind == kind)


def test_an_answer_its_ledger_and_what_it_counts_as() -> None:
    outcome, pieces, run = asyncio.run(go(PLAN, scripted(TEXT)))
    assert text(pieces, "reasoning") == "a b c Wait, d e f Wait, g h i"
    assert text(pieces, "content") == "so 46 it is"
    assert (outcome.finish, outcome.stopped, outcome.chains, outcome.looks) == ("stop", "model", 1, 0)
    answer = len(scripted("").encode("so 46 it is<|end|>"))
    assert outcome.ledger == run.ledger
    assert outcome.ledger.spent - outcome.reasoning_tokens == answer
    assert outcome.prompt_tokens == len(scripted("").encode("1 + 1<think>"))


def test_a_limit_is_told_as_length_only_where_it_cut_the_answer() -> None:
    outcome, pieces, _ = asyncio.run(go(replace(PLAN, chain_limit=30), scripted(TEXT)))
    assert (outcome.finish, outcome.stopped, text(pieces, "content")) == ("stop", "limit", "?")
    outcome, pieces, run = asyncio.run(go(replace(PLAN, chain_limit=30), scripted("a</think>" + "so 46 it is " * 20)))
    assert (outcome.finish, outcome.stopped, run.ledger.spent) == ("length", "model", 30)
    assert text(pieces, "content").startswith("so 46 it is so 46")


def test_a_stop_text_ends_the_request_and_what_was_sampled_is_kept() -> None:
    async def slowly(engine: LocalEngine, stop: str) -> tuple[Outcome, list[Delta], Generation]:
        [problem] = load_task("chain-sum:easy", limit=1).problems
        return await go(replace(PLAN, stop=(stop,)), engine, engine.render(problem.question))

    async def both() -> None:
        async with LocalEngine() as engine:
            whole, pieces, _ = await slowly(engine, "never")
            answer = text(pieces, "content")
            cut, cut_pieces, _ = await slowly(engine, answer[1])
            assert text(cut_pieces, "content") == answer[0]
            assert text(cut_pieces, "reasoning") == text(pieces, "reasoning")
            assert (cut.finish, cut.ledger.dropped) == ("stop", 0)
            assert 0 < cut.ledger.kept <= whole.ledger.kept
            assert whole.ledger.kept - cut.ledger.kept < 8
            await all_free(engine)

    asyncio.run(both())


@dataclass(frozen=True, kw_only=True)
class Strange:
    """Shows one chain and returns another."""

    card: ClassVar[Card] = Card(id="strange", paper="", where="", needs=frozenset(), fidelity="standard")

    async def __call__(self, session: Session) -> Chain:
        first = session.chain()
        await first.think(limit=3)
        await asyncio.sleep(0.05)
        other = session.chain()
        first.drop()
        return await other.close_thinking(answer="no")


@dataclass(frozen=True, kw_only=True)
class Endless:
    """Never decides."""

    card: ClassVar[Card] = Card(id="endless", paper="", where="", needs=frozenset(), fidelity="standard")
    thinks: bool = True

    async def __call__(self, session: Session) -> Chain:
        if self.thinks:
            await session.chain().think(limit=5)
        await asyncio.sleep(3600)
        raise AssertionError


@dataclass(frozen=True, kw_only=True)
class Many:
    """Starts chains for ever."""

    card: ClassVar[Card] = Card(id="many", paper="", where="", needs=frozenset(), fidelity="standard")

    async def __call__(self, session: Session) -> Chain:
        for _ in itertools.count():
            session.chain()
        raise AssertionError


async def all_free(engine: LocalEngine) -> None:
    """Rows are given back in the engine's own thread."""
    async with asyncio.timeout(10):
        while engine.rows_in_use:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def under(policy: Policy, **more: bool) -> Parameters:
    return replace(PLAN, policy=policy, name=policy.card.id, **more)  # type: ignore[arg-type]


def test_what_was_shown_is_never_taken_back_silently() -> None:
    with pytest.raises(TakenBack, match="strange"):
        asyncio.run(go(under(Strange()), scripted(TEXT)))
    _, pieces, _ = asyncio.run(go(under(Strange(), live=False), scripted(TEXT)))
    assert text(pieces, "content") == "no"


def test_when_time_is_over_the_furthest_chain_answers() -> None:
    outcome, pieces, run = asyncio.run(go(under(Endless()), scripted(TEXT), seconds=0.1))
    assert (outcome.stopped, outcome.finish, text(pieces, "content")) == ("time", "stop", "?")
    assert text(pieces, "reasoning") == "a b c"
    assert run.ledger.kept == 5 + 2
    with pytest.raises(OutOfTime, match="endless"):
        asyncio.run(go(under(Endless(thinks=False)), scripted(TEXT), seconds=0.1))


def test_chains_are_limited_and_so_is_a_prompt() -> None:
    with pytest.raises(BadInput, match="more than 5 chains"):
        asyncio.run(go(under(Many()), scripted(TEXT), chains=5))

    async def long() -> None:
        async with LocalEngine() as engine:
            with pytest.raises(BadInput, match="leaves no room"):
                await go(PLAN, engine, "1 " * 5000)

    asyncio.run(long())


def test_an_engine_that_fails_leaves_a_ledger() -> None:
    async def failing() -> None:
        engine = scripted(TEXT, fail_at=7)
        run = Generation(PLAN, engine, Prompt(text="x<think>", question="x", thinks=True), Limits())

        async def show(new: list[Delta]) -> None:
            return None

        with pytest.raises(EngineError):
            await run.go(show)
        assert run.ledger.dropped == engine.tokens > 0
        assert engine.open_sequences == 0

    asyncio.run(failing())


def test_a_plain_text_is_continued() -> None:
    plan = replace(PLAN, policy=Plain(), thinks=False, raw=True, chain_limit=4)
    outcome, pieces, _ = asyncio.run(go(plan, scripted(TEXT), "1 + 1"))
    assert (text(pieces, "content"), outcome.finish) == ("a b ", "length")
    assert outcome.reasoning_tokens == 0
    outcome, pieces, _ = asyncio.run(go(replace(plan, chain_limit=300), scripted("46"), "1 + 1"))
    assert (text(pieces, "content"), outcome.finish) == ("46", "stop")


@pytest.mark.slow
def test_every_rule_shows_what_it_returns_and_many_pieces_of_it() -> None:
    problems = load_task("chain-sum:hard", limit=2).problems
    pieces_of: dict[str, int] = {}

    async def one(engine: LocalEngine, spec: str, question: str) -> None:
        policy = build(spec)
        plan = replace(PLAN, policy=policy, name=spec, chain_limit=300, live=spec in FAMILY.methods)
        outcome, pieces, run = await go(plan, engine, engine.render(question))
        assert run.ledger.spent == outcome.ledger.spent > 0
        assert text(pieces, "content") or outcome.stopped == "turn"
        pieces_of[spec] = max(pieces_of.get(spec, 0), len(pieces))

    async def every() -> None:
        async with LocalEngine() as engine:
            async with asyncio.TaskGroup() as group:
                for spec in [*sorted(FAMILY.methods), "first-finish(n=3)", "self-consistency(n=3, stop=deer)"]:
                    try:
                        fits = build(spec).card.needs <= engine.provides
                    except ValueError:  # needs a file of what it learned
                        continue
                    for problem in problems if fits else ():
                        group.create_task(one(engine, spec, problem.question))
            await all_free(engine)

    asyncio.run(every())
    assert pieces_of["full"] > 60
    assert pieces_of["deer"] > 30
    assert pieces_of["first-finish(n=3)"] <= 2
