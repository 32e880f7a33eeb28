"""Whatever is asked of the local engine, in whatever order: an answer or a refusal at once, and the others go on."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from satisfice.core.engine import Request, Sampled, Signals, Watch
from satisfice.core.errors import BadInput, EngineError, SatisficeError
from satisfice.engines.local.engine import LocalEngine, LocalSequence

LENGTH = 90  # tokens a sequence may have
SOON_S = 60.0  # an answer that takes longer never comes


class Running:
    """An engine that is open in an event loop of its own, for many examples."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.engine = LocalEngine(str(folder), max_length=LENGTH, **options)
        self.do(lambda: self.engine.__aenter__())
        self.plain = self.do(lambda: healthy(self.engine))

    def do(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async def go() -> Any:
            async with asyncio.timeout(SOON_S):
                return await work()

        return asyncio.run_coroutine_threadsafe(go(), self.loop).result(SOON_S + 5)

    def end(self) -> None:
        self.do(lambda: self.engine.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def healthy(engine: LocalEngine) -> tuple[int, ...]:
    """A chain that has nothing to do with what else is asked."""
    sequence = engine.open("What is 1+2?", "healthy")
    try:
        return (await sequence.sample(Request(limit=12, key=7))).ids
    finally:
        sequence.close()


@pytest.fixture(scope="module", params=[(None, 3), (False, 3), (None, 1)], ids=["kernel", "torch", "one-row"])
def running(tiny: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    compiled, rows = request.param
    made = Running(tiny, compiled=compiled, rows=rows, batch=2)
    yield made
    made.end()


numbers = st.integers(-3, LENGTH + 20) | st.sampled_from([-(1 << 63), 1 << 40])
tokens = st.integers(0, 260) | st.sampled_from([-1, 1 << 31, 1 << 70])
reals = st.floats(0, 2) | st.sampled_from([-1.0, math.nan, math.inf])
watches = st.builds(
    Watch, signal=st.sampled_from(["logprob", "entropy", "confidence"]), below=st.none() | st.floats(-5, 5),
    window=st.integers(-1, 4),
)  # fmt: skip
signals = st.builds(
    Signals, logprobs=st.booleans(), entropy=st.booleans(), top_logprobs=st.sampled_from([0, 1, 20, 5000, -1]),
    hidden=st.sampled_from([(), (0, -1), (2,), (3,), (-4,)]),
)  # fmt: skip
requests = st.builds(
    Request, limit=numbers, stop_ids=st.frozensets(tokens, max_size=2), match_from=st.none() | numbers,
    stop_texts=st.sampled_from([(), ("t",), ("",), ("Wait", "46")]), watch=st.none() | watches, temperature=reals,
    top_p=reals, bias=st.dictionaries(tokens, reals, max_size=2), key=st.sampled_from([0, 5, -1, 1 << 64]),
    signals=signals, urgent=st.booleans(),
)  # fmt: skip
fine = st.builds(Request, limit=st.integers(1, 30), key=st.integers(0, 9), urgent=st.booleans())
moves = st.one_of(
    st.tuples(st.just("open"), st.sampled_from(["", "What is 1+2?", "x" * 300, "\ud800"])),
    st.tuples(st.just("fork"), st.integers(0, LENGTH) | numbers),
    st.tuples(st.just("cut"), st.integers(0, LENGTH) | numbers),
    st.tuples(st.just("extend"), st.lists(st.integers(0, 260) | tokens, max_size=120)),
    st.tuples(st.just("sample"), fine | requests),
    st.tuples(st.just("both"), fine | requests),  # two calls on one sequence at once
    st.tuples(st.just("leave"), fine),  # a call that is cancelled
    st.tuples(st.just("close"), st.none()),
)
programs = st.lists(st.tuples(st.integers(0, 3), moves), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(programs, programs)
def test_every_call_is_answered_or_refused_and_a_chain_beside_it_is_as_ever(
    running: Running, one: list[Any], other: list[Any]
) -> None:
    async def go() -> None:
        engine = running.engine
        _, _, beside = await asyncio.gather(play(engine, one), play(engine, other), healthy(engine))
        assert beside == running.plain
        assert await healthy(engine) == running.plain

    running.do(go)


async def play(engine: LocalEngine, program: list[Any]) -> None:
    begun = [engine.open("What is 3+4?", "fuzz")]
    for place, (move, what) in program:
        sequence = begun[place % len(begun)]
        known = list(sequence.ids)
        try:
            await make(engine, begun, sequence, move, what)
        except SatisficeError:
            assert move in ("sample", "both", "leave") or sequence.ids == known  # a refusal changes nothing
    for sequence in begun:
        sequence.close()
        sequence.close()


async def make(engine: LocalEngine, begun: list[LocalSequence], sequence: LocalSequence, move: str, what: Any) -> None:
    if move == "open":
        begun.append(engine.open_prompt(what, "fuzz"))
    elif move == "fork":
        begun.append(sequence.fork(what))
    elif move == "cut":
        sequence.cut(what)
        assert len(sequence.ids) == what
    elif move == "extend":
        sequence.extend(what)
    elif move == "sample":
        check(sequence, len(sequence.ids), what, got := await sequence.sample(what))
        assert sequence.last is got
    elif move == "both":
        begin = len(sequence.ids)
        got = await asyncio.gather(sequence.sample(what), sequence.sample(what), return_exceptions=True)
        assert isinstance(got[1], SatisficeError) or not got[1].ids
        if isinstance(got[0], BaseException):
            raise got[0]
        check(sequence, begin, what, got[0])
    elif move == "leave":
        task = asyncio.create_task(sequence.sample(what))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
    elif move == "close":
        sequence.close()


def check(sequence: LocalSequence, begin: int, request: Request, got: Sampled) -> None:
    assert len(got.ids) <= request.limit
    assert len(sequence.ids) <= max(begin, LENGTH)
    assert sequence.ids[begin:] == list(got.ids)
    assert begin <= len(sequence.ids)


@pytest.mark.parametrize("prompt", ["", []])
def test_an_empty_prompt_is_refused_at_once(running: Running, prompt: Any) -> None:
    async def go() -> None:
        if prompt == "":
            with pytest.raises(BadInput, match=r"p7: the prompt is empty.*Give it some text"):
                running.engine.open_prompt(prompt, "p7")
        empty = running.engine.open("What is 1+2?", "p7").fork(0)
        with pytest.raises(BadInput, match="the sequence is empty"):
            await empty.sample(Request(limit=5))
        empty.extend([7])
        assert len((await empty.sample(Request(limit=5, key=1))).ids) == 5

    running.do(go)


def test_a_sequence_beyond_the_models_length_samples_nothing(running: Running) -> None:
    async def go() -> None:
        sequence = running.engine.open("What is 1+2?", "p")
        sequence.extend([7] * (LENGTH + 40))
        got = await sequence.sample(Request(limit=5))
        assert (got.ids, got.reason, got.cut) == ((), "length", len(sequence.ids))
        sequence.cut(LENGTH - 2)
        assert len((await sequence.sample(Request(limit=5, temperature=0))).ids) == 2

    running.do(go)


def test_an_error_between_waiting_and_running_reaches_whoever_waits(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny), compiled=False) as engine:
            sequence = engine.open("What is 1+2? " * 4, "p")
            monkeypatch.setattr(engine._loop.passes, "read", lambda states: 1 / 0)
            async with asyncio.timeout(20):
                with pytest.raises(EngineError, match="ZeroDivisionError"):
                    await sequence.sample(Request(limit=5))
            monkeypatch.undo()
            async with asyncio.timeout(20):
                assert len((await sequence.sample(Request(limit=5, key=1))).ids) == 5

    asyncio.run(go())


def test_a_sampler_that_fails_fails_those_who_asked_for_it(running: Running) -> None:
    class Once:
        calls = 0

        def __call__(self, scores: Any) -> Any:
            self.calls += 1
            return 1 / 0 if self.calls == 3 else scores

    async def go() -> None:
        broken, narrow, beside = (running.engine.open("What is 1+2?", "p") for _ in range(3))
        got = await asyncio.gather(
            broken.sample(Request(limit=9, key=1, sampler=Once(), signals=Signals(hidden=(1,)))),
            narrow.sample(Request(limit=9, key=1, sampler=lambda scores: scores[:, :3])),
            beside.sample(Request(limit=9, key=7, signals=Signals(hidden=(1,)))),
            return_exceptions=True,
        )
        assert isinstance(got[0], EngineError)
        assert "the sampler failed: ZeroDivisionError" in str(got[0])
        assert "it made [1, 3]" in str(got[1])
        assert got[2].ids == running.plain[:9]  # type: ignore[union-attr]
        begin = len(beside.ids) - 9
        assert len(broken.ids) == begin + 2
        for sequence in (broken, narrow, beside):
            sequence.close()

    running.do(go)


def test_a_sequence_that_is_being_sampled_from_is_left_alone(running: Running) -> None:
    async def go() -> None:
        sequence = running.engine.open("What is 1+2?", "p")
        task = asyncio.create_task(sequence.sample(Request(limit=40, key=3)))
        await asyncio.sleep(0)
        for touch in (lambda: sequence.extend([7]), lambda: sequence.cut(2)):
            with pytest.raises(EngineError, match="being sampled from"):
                touch()
        with pytest.raises(EngineError, match="being sampled from"):
            await sequence.sample(Request(limit=1))
        assert len((await task).ids) == 40
        sequence.close()
        with pytest.raises(EngineError, match="was closed"):
            await sequence.sample(Request(limit=1))

    running.do(go)


def test_a_call_that_comes_while_the_engine_closes_is_told_so(tiny: Path) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny)) as engine:
            sequence = engine.open("What is 1+2?", "p")
        async with asyncio.timeout(10):
            with pytest.raises(EngineError, match="the engine was closed"):
                await sequence.sample(Request(limit=5))
            engine._loop.closed = False  # as it looks to a call that was made a moment earlier
            task = asyncio.create_task(sequence.sample(Request(limit=5)))
            await asyncio.sleep(0)
            engine._loop.closed = True
            with pytest.raises(EngineError, match="the engine was closed"):
                await task

    asyncio.run(go())
