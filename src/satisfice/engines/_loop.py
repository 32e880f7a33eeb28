"""The loop of the local engine: one thread that owns the model, the cache and every row in it.

Coroutines talk to it through an inbox that is read in order once a step, and are woken when their stop condition holds.
"""

import asyncio
import collections
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from satisfice.core.engine import Request, Sampled, StopReason
from satisfice.core.errors import EngineError
from satisfice.engines._cache import BLOCK, MIN_ROWS, RowCache
from satisfice.engines._rows import Rows, State
from satisfice.engines._sampling import draw, uniforms
from satisfice.engines._stops import could_end, find_stop

FEED = 8  # tokens; up to this many unread tokens are fed through decode steps, more are prefilled
CHUNK = 64  # tokens a prefill step reads from each chain


@dataclass(eq=False)
class Job:
    """One call of `sample`, while it waits and runs."""

    state: State
    request: Request
    wake: Callable[[], None]
    begin: int  # length of the sequence when the call was made
    stops: int = 0  # index into the table of stop tokens
    cancelled: bool = False
    prefilled: int = 0
    error: Exception | None = None
    result: Sampled | None = None
    trace: dict[str, list[Any]] = field(default_factory=dict)


class Counters(NamedTuple):
    """What the engine really did, in tokens; for holding ledgers against."""

    sampled: int
    prefilled: int  # read in prefill, prompts included
    fed: int  # injected or prompt tokens read through decode steps
    steps: int


class Loop:
    """Owns the model. Everything but `post` and the constructor runs in its thread."""

    def __init__(
        self, model: Any, decode: Callable[[list[int]], str], *, rows: int, batch: int, max_length: int
    ) -> None:
        self.model, self.decode, self.max_length, self.batch = model, decode, max_length, min(batch, rows)
        self.device = model.device
        self.cache = RowCache(model.config.get_text_config(), rows, model.dtype, self.device)
        self.rows = Rows(self.cache)
        self.vocab = model.get_output_embeddings().weight.shape[0]
        self.waiting: collections.deque[Job] = collections.deque()
        self.active: list[Job] = []
        self.counters = Counters(0, 0, 0, 0)
        self._stop_index: dict[tuple[frozenset[int], tuple[str, ...]], int] = {}
        self._stop_table = np.zeros((0, self.vocab), dtype=np.uint8)
        self._pieces: list[str] | None = None
        self._inbox: collections.deque[tuple[Any, ...]] = collections.deque()
        self._bell = threading.Event()
        self._thread = threading.Thread(target=self._run, name="satisfice-engine", daemon=True)
        self.closed = False

    # From any thread

    def start(self) -> None:
        self._thread.start()

    def post(self, *messages: tuple[Any, ...]) -> None:
        """Put messages into the inbox: ("fork", child, parent, length), ("cut", state, length), ("close", state),
        ("sample", job), ("cancel", job), ("stop",)."""
        self._inbox.extend(messages)
        self._bell.set()

    def join(self) -> None:
        self.post(("stop",))
        self._thread.join()

    # In the loop's thread

    def _run(self) -> None:
        with torch.inference_mode():
            while True:
                if not self._read_inbox():
                    return
                try:
                    self._admit()
                    if self.active:
                        self._step()
                except Exception as error:  # noqa: BLE001 - whatever broke, nobody may wait for ever
                    self._fail_all(error)

    def _read_inbox(self) -> bool:
        while not self._inbox and not self.active and not self.waiting:
            self._bell.wait()
            self._bell.clear()
        self._bell.clear()
        while self._inbox:
            kind, *what = self._inbox.popleft()
            if kind == "stop":
                self.closed = True
                self._fail_all(EngineError("the engine was closed"))
                return False
            if kind == "sample":
                self.waiting.append(what[0])
            elif kind == "cancel":
                self._cancel(what[0])
            elif kind == "fork":
                self.rows.share(*what)
            elif kind == "cut":
                what[0].valid, what[0].known = min(what[0].valid, what[1]), min(what[0].known, what[1])
            elif kind == "close":
                what[0].closed = True
                self.rows.leave(what[0])
        return True

    def _fail_all(self, error: Exception) -> None:
        for job in (*self.active, *self.waiting):
            job.error = error if isinstance(error, EngineError) else EngineError(f"{type(error).__name__}: {error}")
            self._finish(job, "cancelled")
        self.active, self.waiting = [], collections.deque()

    # Jobs

    def _admit(self) -> None:
        """Start waiting jobs: urgent forks first, then chains already begun, then new prompts, a problem's together."""
        if not self.waiting:
            return
        started: list[Job] = []
        order = sorted(enumerate(self.waiting), key=lambda p: (not p[1].request.urgent, p[1].state.known == 0, p[0]))
        gangs: dict[State, list[Job]] = {}
        for _, job in order:
            if job.request.urgent or job.state.known:
                gangs[job.state] = [job]
            else:
                gangs.setdefault(job.state.root, []).append(job)
        for gang in gangs.values():
            busy = len(self.active) + len(started)
            if busy and busy + len(gang) > self.batch and not gang[0].request.urgent:
                break  # first come, first served: nobody smaller slips in before a problem with many chains
            started += [job for job in gang if self._begin(job)]
        for job in started:
            self.waiting.remove(job)
        self._prefill(started)
        self.active += started

    def _begin(self, job: Job) -> bool:
        state = job.state
        state.valid = min(state.valid, len(state.ids) - 1)  # the last token is read again for its scores
        if len(state.ids) - state.valid > FEED and state.root is not state and not state.known:
            self._prefill_root(state.root)
        if not self.rows.claim(state):
            return False
        state.running = True
        job.stops = self._stop_set(job.request)
        job.prefilled = max(0, min(state.known, len(state.ids) - 1) - state.valid)
        return True

    def _prefill_root(self, root: State) -> None:
        """Compute a shared prompt once, in the root's own row, before the first of its forks runs."""
        if root.row is None and not root.closed and self.rows.claim(root):
            self._read([root])

    def _prefill(self, jobs: list[Job]) -> None:
        self._read([job.state for job in jobs if len(job.state.ids) - job.state.valid > FEED])

    def _read(self, states: list[State]) -> None:
        """Compute keys and values for all but the last token of each sequence, `CHUNK` tokens of all at a time."""
        while states := [state for state in states if state.valid < len(state.ids) - 1]:
            counts = [min(CHUNK, len(state.ids) - 1 - state.valid) for state in states]
            tokens = np.zeros((len(states), CHUNK), dtype=np.int64)
            begin = np.array([state.valid for state in states])
            for i, (state, n) in enumerate(zip(states, counts, strict=True)):
                tokens[i, :n] = state.ids[state.valid : state.valid + n]
            positions = torch.from_numpy(begin[:, None] + np.arange(CHUNK)).to(self.device)
            width = -(-int(begin.max() + CHUNK) // BLOCK) * BLOCK
            self.cache.reserve(width)
            rows = torch.tensor([state.row.index for state in states if state.row], device=self.device)
            self.cache.bind(rows, positions, width, span=0)
            seen = torch.arange(width, device=self.device) <= positions[:, None, :, None]
            self._forward(self.model.base_model, torch.from_numpy(tokens).to(self.device), positions, seen)
            for state, n in zip(states, counts, strict=True):
                state.valid += n
                state.known = max(state.known, state.valid)
            self._count(prefilled=sum(counts))

    def _forward(
        self, module: Any, tokens: torch.Tensor, positions: torch.Tensor, seen: torch.Tensor, **more: Any
    ) -> Any:
        mask = torch.zeros(seen.shape, dtype=self.cache.dtype, device=self.device).masked_fill_(~seen, float("-inf"))
        return module(
            input_ids=tokens, position_ids=positions, attention_mask=mask, past_key_values=self.cache, use_cache=True,
            **more,
        )  # fmt: skip

    def _step(self) -> None:
        """One token for every active chain."""
        self.rows.compact([job.state for job in self.active])
        jobs = self.active
        n = len(jobs)
        padded = max(MIN_ROWS, -(-n // MIN_ROWS) * MIN_ROWS)
        states = [job.state for job in jobs] + [jobs[0].state] * (padded - n)
        where = [state.row.index for state in states if state.row]
        rows = torch.tensor(where, device=self.device)
        at = np.array([state.valid for state in states], dtype=np.int64)
        tokens = torch.tensor([[state.ids[state.valid]] for state in states], device=self.device)
        span = min(-(-(max(where) + 1) // MIN_ROWS) * MIN_ROWS, self.cache.shape[0])
        width = -(-int(at.max() + 1) // BLOCK) * BLOCK
        self.cache.reserve(width)
        positions = torch.from_numpy(at).to(self.device)[:, None]
        self.cache.bind(rows, positions, width, span=span)
        newest = torch.zeros(span, dtype=torch.long, device=self.device)
        newest[rows] = positions[:, 0]
        seen = (torch.arange(width, device=self.device) <= newest[:, None])[:, None, None]
        hidden = any(job.request.signals.hidden for job in jobs)
        placed = None if where == list(range(span)) else rows
        out = self._forward(self.model, tokens, positions, seen, rows=placed, output_hidden_states=hidden)
        for job in jobs:
            job.state.valid += 1
            job.state.known = max(job.state.known, job.state.valid)
            if job.state.row is not None:
                job.state.row.used = self.counters.steps
        ready = [i for i, job in enumerate(jobs) if job.state.valid == len(job.state.ids)]
        self._count(steps=1, sampled=len(ready), fed=n - len(ready))
        if ready:
            self._sample([jobs[i] for i in ready], out.logits[:, -1].float()[torch.tensor(ready)], out, ready)

    def _sample(self, jobs: list[Job], logits: torch.Tensor, out: Any, index: list[int]) -> None:
        requests = [job.request for job in jobs]
        lengths = np.array([len(job.state.ids) for job in jobs], dtype=np.int64)
        chance = torch.from_numpy(uniforms(np.array([r.key for r in requests], dtype=np.uint64), lengths))
        temperature = torch.tensor([r.temperature for r in requests], dtype=torch.float32)
        top_p = torch.tensor([r.top_p for r in requests]) if any(r.top_p < 1 for r in requests) else None
        scores = logits
        if any(r.bias for r in requests):
            scores = logits.clone()
            for i, r in enumerate(requests):
                for token, value in r.bias.items():
                    scores[i, token] += value
        groups: dict[int, list[int]] = {}
        for i, r in enumerate(requests):
            if r.sampler is not None:
                groups.setdefault(id(r.sampler), []).append(i)
        samplers = [(torch.tensor(g, device=self.device), requests[g[0]].sampler) for g in groups.values()]
        picked = draw(
            scores, temperature.to(self.device), None if top_p is None else top_p.to(self.device),
            chance.to(self.device), samplers,  # type: ignore[arg-type]
        ).cpu()  # fmt: skip
        new = picked.numpy()
        asked = [i for i, job in enumerate(jobs) if job.request.signals.needs or job.request.watch]
        if asked:
            _observe([jobs[i] for i in asked], logits[asked], picked[asked], out, [index[i] for i in asked])
        flags = self._stop_table[[job.stops for job in jobs], new]
        finished = []
        for i, (job, token) in enumerate(zip(jobs, new.tolist(), strict=True)):
            ids = job.state.ids
            ids.append(token)
            if flags[i] and self._stopped(job, int(flags[i])):
                finished.append(job)
            elif job.request.watch is not None and _crossed(job):
                self._finish(job, "signal")
                finished.append(job)
            elif len(ids) - job.begin >= job.request.limit or len(ids) >= self.max_length:
                self._finish(job, "length")
                finished.append(job)
        if finished:
            gone = set(map(id, finished))
            self.active = [job for job in self.active if id(job) not in gone]

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
            line[[i for i in request.stop_ids if i < self.vocab]] = 1
            if request.stop_texts:
                if self._pieces is None:
                    self._pieces = [self.decode([i]) for i in range(self.vocab)]
                line |= np.array([2 * could_end(piece, request.stop_texts) for piece in self._pieces], dtype=np.uint8)
            self._stop_index[key] = len(self._stop_table)
            self._stop_table = np.vstack([self._stop_table, line])
        return self._stop_index[key]

    def _cancel(self, job: Job) -> None:
        if job.result is None:
            self.active = [other for other in self.active if other is not job]
            if job in self.waiting:
                self.waiting.remove(job)
            self._finish(job, "cancelled")

    def _finish(self, job: Job, reason: StopReason, cut: int | None = None, match: str = "") -> None:
        job.state.running = False
        ids = job.state.ids

        def column(name: str) -> Any:
            return np.array(job.trace[name], dtype=np.float32) if name in job.trace else None

        top = job.trace.get("top_ids")
        job.result = Sampled(
            ids=tuple(ids[job.begin :]), reason=reason, cut=len(ids) if cut is None else cut, match=match,
            prefilled=job.prefilled,
            logprobs=column("logprobs") if job.request.signals.logprobs else None,
            entropy=column("entropy") if job.request.signals.entropy else None,
            top_logprobs=column("top_logprobs"), top_ids=None if top is None else np.array(top, dtype=np.int64),
            hidden={n: np.stack(v) for n in job.request.signals.hidden if (v := job.trace.get(f"hidden{n}"))},
        )  # fmt: skip
        job.wake()

    def _count(self, *, sampled: int = 0, prefilled: int = 0, fed: int = 0, steps: int = 0) -> None:
        old = self.counters
        self.counters = Counters(old.sampled + sampled, old.prefilled + prefilled, old.fed + fed, old.steps + steps)


def _observe(jobs: list[Job], logits: torch.Tensor, picked: torch.Tensor, out: Any, index: list[int]) -> None:
    """Add the asked-for signals of the newest token to each job's trace."""
    logprobs = torch.log_softmax(logits, -1)
    chosen = logprobs.gather(1, picked.to(logprobs.device)[:, None])[:, 0].tolist()
    for i, job in enumerate(jobs):
        signals, watch, trace = job.request.signals, job.request.watch, job.trace
        kind = watch.signal if watch is not None else ""
        if signals.logprobs or kind == "logprob":
            trace.setdefault("logprobs", []).append(chosen[i])
        if signals.entropy or kind == "entropy":
            terms = torch.where(logprobs[i].isinf(), 0.0, logprobs[i].exp() * logprobs[i])
            trace.setdefault("entropy", []).append(-float(terms.sum()))
        if signals.top_logprobs:
            values, tokens = logprobs[i].topk(signals.top_logprobs)
            trace.setdefault("top_logprobs", []).append(values.tolist())
            trace.setdefault("top_ids", []).append(tokens.tolist())
        if kind == "confidence":
            trace.setdefault("confidence", []).append(-float(logprobs[i].topk(20).values.mean()))
        for layer in signals.hidden:
            state = out.hidden_states[layer][index[i], -1]
            trace.setdefault(f"hidden{layer}", []).append(state.float().cpu().numpy().copy())


def _crossed(job: Job) -> bool:
    watch = job.request.watch
    assert watch is not None
    values = job.trace["logprobs" if watch.signal == "logprob" else watch.signal]
    if len(values) < watch.window:
        return False
    mean = sum(values[-watch.window :]) / watch.window
    return (watch.below is not None and mean < watch.below) or (watch.above is not None and mean > watch.above)


async def run_job(
    loop: Loop, job: Job, flush: Callable[[tuple[Any, ...]], None], done: "asyncio.Future[None]"
) -> Sampled:
    """Hand a job to the loop and wait for it; a cancelled caller waits until the loop has let go of it."""
    if loop.closed:
        raise EngineError("the engine was closed")
    flush(("sample", job))
    try:
        await asyncio.shield(done)
    except asyncio.CancelledError:
        flush(("cancel", job))  # by the same way as the call, so that it cannot overtake it
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
