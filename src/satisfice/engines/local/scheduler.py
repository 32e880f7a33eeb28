"""The loop of the local engine: one thread that owns the model, the cache and every row in it.

Coroutines talk to it through an inbox that is read in order once a step, and are woken when their stop condition holds.
"""

import asyncio
import collections
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from satisfice.core.engine import Request, Sampled, StopReason
from satisfice.core.errors import BadInput, EngineError
from satisfice.engines.local.batch import Batch, Job, observe
from satisfice.engines.local.cache import RowCache
from satisfice.engines.local.messages import Begin, Cancel, Close, Cut, Fork, Message, Stop
from satisfice.engines.local.runner import Step, pass_of
from satisfice.engines.local.sequence import Rows, SequenceState
from satisfice.engines.stops import could_end, find_stop

FEED = 8  # tokens; where reading has passes of its own, up to this many unread tokens are left to the steps


class Counters(NamedTuple):
    """What the engine really did, in tokens; for holding ledgers against."""

    sampled: int
    prefilled: int  # read in prefill, prompts included
    fed: int  # injected or prompt tokens read through decode steps
    steps: int


class Loop:
    """Owns the model. Everything but `post` and the constructor runs in its thread."""

    def __init__(
        self, model: Any, decode: Callable[[list[int]], str], *, rows: int, batch: int, max_length: int, memory: int,
        compiled: bool | None,
    ) -> None:  # fmt: skip
        self.decode, self.max_length, self.batch = decode, max_length, min(batch, rows)
        self.device = model.device
        config = model.config.get_text_config()
        self.cache = RowCache(config, model.dtype, self.device, longest=max_length, limit=memory)
        self.rows = Rows(self.cache, rows)
        self.passes = pass_of(model, self.cache, max_length, compiled=compiled)
        self.vocab = model.get_output_embeddings().weight.shape[0]
        self.waiting: collections.deque[Job] = collections.deque()
        self._batch = Batch(max_length, self.device)  # the jobs that advance
        self._moved = False  # whether rows may have moved since the batch looked
        self._slab_numbers = {slab: i for i, slab in enumerate(self.cache.slabs)}
        self._woken: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []
        self.counters = Counters(0, 0, 0, 0)
        self._stop_index: dict[tuple[frozenset[int], tuple[str, ...]], int] = {}
        self._stop_table = np.zeros((0, self.vocab), dtype=np.uint8)
        self._pieces: list[str] | None = None
        self._inbox: collections.deque[Message] = collections.deque()
        self._bell = threading.Event()
        self._thread = threading.Thread(target=self._run, name="satisfice-engine", daemon=True)
        self.tell: Callable[[list[Callable[[], None]]], None] | None = None  # brings calls into the event loop
        self.closed = False

    # From any thread

    def start(self) -> None:
        if self._thread.ident is not None:
            raise BadInput(
                "LocalEngine: this engine was entered before, and an engine is entered once. Share it among those who "
                "need it, or make another."
            )
        self._thread.start()

    def post(self, *messages: Message) -> None:
        """Put messages into the inbox."""
        self._inbox.extend(messages)
        self._bell.set()
        if self.closed:
            self._refuse_rest()

    def join(self) -> None:
        self.post(Stop())
        self._thread.join()

    # In the loop's thread

    def _run(self) -> None:
        with torch.inference_mode():
            while not self.closed:
                try:
                    self._read_inbox()
                    self._admit()
                    if self._batch.jobs:
                        self._step()
                    elif self.waiting:  # nobody runs who could make room
                        raise EngineError("the cache has no row that this sequence fits into")
                except Exception as error:  # noqa: BLE001 - whatever broke, nobody may wait for ever
                    self._fail_all(error)
                self._deliver()
        self._refuse_rest()

    def _refuse_rest(self) -> None:
        """Answer calls that came after the end: nobody reads the inbox any more. From any thread."""
        with contextlib.suppress(IndexError):
            while True:
                message = self._inbox.popleft()
                if isinstance(message, Begin):
                    message.job.error = EngineError("the engine was closed")
                    wake_in(message.job.home, [message.job.wake])

    def _read_inbox(self) -> None:
        while not self._inbox and not self._batch.jobs and not self.waiting:
            self._bell.wait()
            self._bell.clear()
        self._bell.clear()
        while self._inbox:
            match self._inbox.popleft():
                case Begin(job):
                    self.waiting.append(job)
                case Cancel(job):
                    self._cancel(job)
                case Fork(child, parent, length):
                    self.rows.share(child, parent, length)
                case Cut(state, length):
                    state.valid, state.known = min(state.valid, length), min(state.known, length)
                case Close(state):
                    state.closed = True
                    self.rows.leave(state)
                case Stop():
                    self.closed = True
                    raise EngineError("the engine was closed")

    def _fail_all(self, error: Exception) -> None:
        for job in dict.fromkeys((*self._batch.jobs, *self.waiting)):
            job.error = error if isinstance(error, EngineError) else EngineError(f"{type(error).__name__}: {error}")
            self._finish(job, "cancelled")
        self._batch, self.waiting = Batch(self.max_length, self.device), collections.deque()

    def _deliver(self) -> None:
        """Wake whoever waits for a call that is over, all of an event loop at once."""
        woken, self._woken = self._woken, []
        for home in dict.fromkeys(home for home, _ in woken):
            wake_in(home, [call for other, call in woken if other is home])

    # Jobs

    def _admit(self) -> None:
        """Start waiting jobs: urgent forks first, then chains already begun, then new prompts, a problem's together."""
        busy = len(self._batch.jobs)
        if busy >= self.batch and not any(job.request.urgent for job in self.waiting):
            return
        if not self.waiting:
            return
        started: list[Job] = []
        order = sorted(enumerate(self.waiting), key=lambda p: (not p[1].request.urgent, p[1].state.known == 0, p[0]))
        gangs: dict[SequenceState, list[Job]] = {}
        for _, job in order:
            if job.request.urgent or job.state.known:
                gangs[job.state] = [job]
            else:
                gangs.setdefault(job.state.root, []).append(job)
        for gang in gangs.values():
            if busy and busy + len(gang) > self.batch and not gang[0].request.urgent:
                break  # first come, first served: nobody smaller slips in before a problem with many chains
            self._moved = True  # a claim may move rows, even one that fails
            if len(gang) > 1 or not self.passes.mixed:
                self._read_root(gang[0].state)
            begun = [job for job in gang if self._begin(job)]
            started, busy = started + begun, busy + len(begun)
        if started:
            if not self.passes.mixed:
                self._read([job.state for job in started if _unread(job.state) > FEED])
            self._batch.join(started)
            gone = set(map(id, started))  # only now: whatever fails before, they are among those who hear of it
            self.waiting = collections.deque(job for job in self.waiting if id(job) not in gone)

    def _begin(self, job: Job) -> bool:
        state = job.state
        state.valid = min(state.valid, len(state.ids) - 1)  # the last token is read again for its scores
        if not self.rows.claim(state):
            return False
        state.running = True
        job.stops = self._stop_set(job.request)
        job.prefilled += max(0, min(state.known, len(state.ids) - 1) - state.valid)
        return True

    def _read_root(self, state: SequenceState) -> None:
        """Compute a shared prompt once, in the root's own row, before the first of its forks runs."""
        root = state.root
        if root is state or state.known or root.row is not None or root.closed:
            return
        if _unread(state) > FEED and self.rows.claim(root):
            self._read([root])

    def _read(self, states: list[SequenceState]) -> None:
        """Compute keys and values for all but the last token of each sequence."""
        if states := [state for state in states if _unread(state) > 1]:
            self._count(prefilled=self.passes.read(states))

    def _step(self) -> None:
        """One token for every chain that decodes, and some of what the others have to read."""
        batch = self._batch
        self._settle()
        if (full := np.flatnonzero(batch.at >= batch.room)).size:
            self._widen(full.tolist())
            self._settle()
        if not batch.jobs:
            return
        step = self.passes.step(batch)
        self._count(steps=1, sampled=len(step.ready), fed=batch.read - len(step.ready))
        if batch.read > len(batch.jobs):
            for job in batch.jobs:
                self.rows.lend(job.state)
        if step.scores is not None:
            self._sample(batch, step, step.scores)

    def _settle(self) -> None:
        """Let the batch know where its rows are, which torch wants side by side and in order."""
        if not self._moved:
            return
        batch, self._moved = self._batch, False
        if not self.passes.mixed:
            rows = [job.state.row for job in batch.jobs if job.state.row]
            for slab in dict.fromkeys(row.slab for row in rows):
                self.rows.compact(slab, [row for row in rows if row.slab is slab])
        batch.place(self._slab_numbers)
        if not self.passes.mixed:
            batch.order(np.lexsort((batch.rows, batch.slabs)))

    def _widen(self, places: list[int]) -> None:
        """Move chains that have filled their rows to wider ones; without room they wait and are read again later."""
        failed = []
        for place in places:
            job = self._batch.jobs[place]
            if not self.rows.widen(job.state, len(job.state.ids)):
                job.state.running = False
                self.rows.leave(job.state)
                self.waiting.appendleft(job)
                failed.append(place)
        self._leave(failed)
        self._moved = True

    def _leave(self, places: list[int]) -> None:
        self._batch.leave(places)
        self._moved |= bool(places) and not self.passes.mixed

    def _sample(self, batch: Batch, step: Step, scores: torch.Tensor) -> None:
        ready = step.ready
        new, failed = step.picked, list[int]()
        if new is None:
            new = batch.pick(ready, scores)
            if batch.broken:
                stay = np.array([i for i in range(len(ready)) if i not in batch.broken], dtype=np.intp)
                failed = self._fail(ready, batch.broken)
                step = replace(step, states=tuple(layer[torch.from_numpy(stay)] for layer in step.states))
                ready, new, scores = ready[stay], new[stay], scores[torch.from_numpy(stay)]
        batch.tokens[ready] = new
        asked = np.flatnonzero(batch.asked[ready])
        if len(asked):
            places = torch.from_numpy(asked).to(self.device)
            observe(
                [batch.jobs[i] for i in ready[asked]], scores[places], torch.from_numpy(new[asked]).to(self.device),
                tuple(layer[places] for layer in step.states),
            )  # fmt: skip
        for i, token in zip(ready.tolist(), new.tolist(), strict=True):
            batch.jobs[i].state.ids.append(token)
        if batch.told and self.tell is not None:
            self.tell(batch.told)
        flags = self._stop_table[batch.stops[ready], new]
        at_end = batch.at[ready] + 1 >= batch.ends[ready]
        finished = failed
        for place in np.flatnonzero((flags > 0) | at_end | (batch.watched[ready] > 0)).tolist():
            job = batch.jobs[ready[place]]
            if flags[place] and self._stopped(job, int(flags[place])):
                finished.append(int(ready[place]))
            elif job.request.watch is not None and _crossed(job):
                self._finish(job, "signal")
                finished.append(int(ready[place]))
            elif at_end[place]:
                self._finish(job, "length")
                finished.append(int(ready[place]))
        self._leave(finished)

    def _fail(self, ready: NDArray[np.intp], broken: dict[int, Exception]) -> list[int]:
        """End the calls whose sampler failed; their places in the batch."""
        for place, error in broken.items():
            job = self._batch.jobs[ready[place]]
            job.error = EngineError(f"the sampler failed: {type(error).__name__}: {error}")
            self._finish(job, "cancelled")
        return [int(ready[place]) for place in broken]

    def _stopped(self, job: Job, flag: int) -> bool:
        ids, request = job.state.ids, job.request
        if flag & 1:
            self._finish(job, "token")
            return True
        since = job.begin if request.match_from is None else request.match_from
        found = find_stop(ids, since, len(ids) - 1, request.stop_texts, self.decode)
        if found is not None:
            self._finish(job, "text", found.cut, found.text)
        return found is not None

    def _stop_set(self, request: Request) -> int:
        """The row of the stop table for a request: 1 where a token ends the call, 2 where a stop text may end in it."""
        key = (request.stop_ids, request.stop_texts)
        if key not in self._stop_index:
            line = np.zeros(self.vocab, dtype=np.uint8)
            line[[i for i in request.stop_ids if 0 <= i < self.vocab]] = 1
            if request.stop_texts:
                if self._pieces is None:
                    self._pieces = [self.decode([i]) for i in range(self.vocab)]
                line |= np.array([2 * could_end(piece, request.stop_texts) for piece in self._pieces], dtype=np.uint8)
            self._stop_index[key] = len(self._stop_table)
            self._stop_table = np.vstack([self._stop_table, line])
        return self._stop_index[key]

    def _cancel(self, job: Job) -> None:
        if job.result is None:
            self._leave([i for i, other in enumerate(self._batch.jobs) if other is job])
            if job in self.waiting:
                self.waiting.remove(job)
            self._finish(job, "cancelled")

    def _finish(self, job: Job, reason: StopReason, cut: int | None = None, match: str = "") -> None:
        job.state.running = False
        if job.state.row is not None:
            job.state.row.used = self.counters.steps
        ids = job.state.ids

        def column(name: str) -> Any:
            return np.array(job.trace[name], dtype=np.float32) if name in job.trace else None

        top = job.trace.get("top_ids")
        job.result = Sampled(
            ids=tuple(ids[job.begin :]), reason=reason, cut=len(ids) if cut is None else cut, match=match,
            prefilled=job.prefilled, logprobs=column("logprobs"), entropy=column("entropy"),
            watched=tuple(job.trace.get("watched", ())[-job.request.watch.window :]) if job.request.watch else (),
            top_logprobs=column("top_logprobs"), top_ids=None if top is None else np.array(top, dtype=np.int64),
            hidden={n: np.stack(v) for n in job.request.signals.hidden if (v := job.trace.get(f"hidden{n}"))},
        )  # fmt: skip
        self._woken.append((job.home, job.wake))

    def _count(self, *, sampled: int = 0, prefilled: int = 0, fed: int = 0, steps: int = 0) -> None:
        old = self.counters
        self.counters = Counters(old.sampled + sampled, old.prefilled + prefilled, old.fed + fed, old.steps + steps)


def _unread(state: SequenceState) -> int:
    """Return tokens that are not in the cache; the last one is read for its scores."""
    return len(state.ids) - state.valid


def _crossed(job: Job) -> bool:
    watch = job.request.watch
    assert watch is not None
    return watch.crossed(job.trace["watched"])


def wake_in(home: asyncio.AbstractEventLoop, calls: Sequence[Callable[[], None]]) -> None:
    """Make calls in an event loop from another thread; nothing to do when that loop is gone with its program."""

    def make() -> None:
        for call in calls:
            call()

    with contextlib.suppress(RuntimeError):
        home.call_soon_threadsafe(make)


async def run_job(loop: Loop, job: Job, flush: Callable[[Message], None], done: "asyncio.Future[None]") -> Sampled:
    """Hand a job to the loop and wait for it; a cancelled caller waits until the loop has let go of it."""
    if loop.closed:
        raise EngineError("the engine was closed")
    flush(Begin(job))
    try:
        await asyncio.shield(done)
    except asyncio.CancelledError:
        flush(Cancel(job))  # by the same way as the call, so that it cannot overtake it
        while not done.done():
            try:
                await asyncio.shield(done)
            except asyncio.CancelledError:
                continue
        raise
    if job.error is not None:
        raise job.error
    assert job.result is not None
    return job.result
