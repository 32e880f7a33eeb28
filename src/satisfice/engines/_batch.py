"""The chains that advance together, as arrays: what one decode step needs, kept from step to step.

A batch is planned when a chain joins, leaves or moves, and only counted on between. So a step costs a few array
operations, however many chains there are.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satisfice.core.engine import Request, Sampled
from satisfice.engines._cache import BLOCK, MIN_ROWS, Segment, Slab
from satisfice.engines._rows import State
from satisfice.engines._sampling import draw, uniforms


@dataclass(eq=False)
class Job:
    """One call of `sample`, while it waits and runs."""

    state: State
    request: Request
    wake: Callable[[], None]
    begin: int  # length of the sequence when the call was made
    stops: int = 0  # index into the table of stop tokens
    prefilled: int = 0
    error: Exception | None = None
    result: Sampled | None = None
    trace: dict[str, list[Any]] = field(default_factory=dict)


class Batch:
    """Jobs in the order of their rows, and an entry of each array for each of them.

    Arrays that go through the model are padded to a multiple of `MIN_ROWS` with copies of the last job.
    """

    def __init__(self, jobs: list[Job], max_length: int, device: torch.device) -> None:
        self.jobs = sorted(jobs, key=_place)
        self.device = device
        requests = [job.request for job in self.jobs]
        states = [job.state for job in self.jobs]
        self.padding = -len(jobs) % MIN_ROWS
        self.at = np.array([state.valid for state in states], dtype=np.int64)  # position that is read next
        self.unread = np.array([len(state.ids) - 1 - state.valid for state in states])  # tokens known beyond it
        self.tokens = np.array([state.ids[state.valid] for state in states], dtype=np.int64)
        self.room = np.array([state.row.slab.width for state in states if state.row])
        self.ends = np.array([min(job.begin + job.request.limit, max_length) for job in self.jobs])
        self.stops = np.array([job.stops for job in self.jobs])
        self.watched = np.array([request.watch is not None for request in requests])
        self.asked = np.array([bool(request.signals.needs) or request.watch is not None for request in requests])
        self.hidden = any(request.signals.hidden for request in requests)
        self.told = [request.on_tokens for request in requests if request.on_tokens is not None]
        self._keys = np.array([request.key for request in requests], dtype=np.uint64)
        self._temperature = torch.tensor([request.temperature for request in requests], device=device)
        self._top_p = torch.tensor([request.top_p for request in requests], device=device)
        self._biased = [i for i, request in enumerate(requests) if request.bias]
        self._truncated = any(request.top_p < 1 for request in requests)
        self._sampled_by: dict[int, list[int]] = {}
        for i, request in enumerate(requests):
            if request.sampler is not None:
                self._sampled_by.setdefault(id(request.sampler), []).append(i)
        self._segments = self._split(states)

    def _split(self, states: list[State]) -> list[Segment]:
        """One segment for each slab; the padding belongs to the last."""
        found: list[Segment] = []
        slabs: list[Slab] = [state.row.slab for state in states if state.row]
        for begin in [i for i in range(len(slabs)) if i == 0 or slabs[i] is not slabs[i - 1]]:
            end = next((i for i in range(begin, len(slabs)) if slabs[i] is not slabs[begin]), len(slabs))
            rows = [state.row.index for state in states[begin:end] if state.row]
            if end == len(slabs):
                rows, end = rows + rows[-1:] * self.padding, end + self.padding
            found.append(
                Segment(
                    slab=slabs[begin], begin=begin, end=end, rows=torch.tensor(rows, device=self.device),
                    span=max(rows) + 1, in_order=rows == list(range(len(rows))),
                )
            )  # fmt: skip
        return found

    def inputs(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, tuple[Segment, ...]]:
        """Tokens `[padded, 1]`, positions `[padded, 1]`, and the segments with what attention reads now."""
        at = np.pad(self.at, (0, self.padding), mode="edge")
        tokens = torch.from_numpy(np.pad(self.tokens, (0, self.padding), mode="edge")).to(self.device)
        positions = torch.from_numpy(at).to(self.device)
        segments = []
        for part in self._segments:
            width = -(-int(at[part.begin : part.end].max() + 1) // BLOCK) * BLOCK
            newest = torch.zeros(part.span, dtype=torch.long, device=self.device)  # rows of others read position 0
            newest[part.rows] = positions[part.begin : part.end]
            segments.append(
                replace(part, width=width, mask=causal_mask(newest[:, None, None, None], width, dtype))
            )  # fmt: skip
        return tokens[:, None], positions[:, None], tuple(segments)

    def advance(self) -> NDArray[np.intp]:
        """All have read one token; returns which of them are to sample, and moves the others on to what they know."""
        for job in self.jobs:
            state = job.state
            state.valid += 1
            if state.known < state.valid:
                state.known = state.valid
        self.at += 1
        behind = self.unread > 0
        for i in np.flatnonzero(behind):
            self.tokens[i] = self.jobs[i].state.ids[self.at[i]]
        self.unread[behind] -= 1
        return np.flatnonzero(~behind)

    def pick(self, ready: NDArray[np.intp], logits: torch.Tensor) -> NDArray[np.int64]:
        """Draw a token for each job in `ready` from its row of float32 `[len(ready), vocab]` scores."""
        every = len(ready) == len(self.jobs)
        rows = torch.from_numpy(ready).to(self.device)
        scores = logits
        if self._biased:
            scores = logits.clone()
            for i in self._biased:
                for place in np.flatnonzero(ready == i):
                    for token, value in self.jobs[i].request.bias.items():
                        scores[place, token] += value
        samplers = []
        for group in self._sampled_by.values():
            places = np.flatnonzero(np.isin(ready, group))
            if len(places):
                samplers.append((torch.from_numpy(places).to(self.device), self.jobs[group[0]].request.sampler))
        chance = torch.from_numpy(uniforms(self._keys[ready], self.at[ready])).to(self.device)
        top_p = self._top_p if every else self._top_p[rows]
        picked = draw(
            scores, self._temperature if every else self._temperature[rows], top_p if self._truncated else None,
            chance, samplers,  # type: ignore[arg-type]
        ).cpu().numpy()  # fmt: skip
        self.tokens[ready] = picked
        return picked


def causal_mask(newest: torch.Tensor, width: int, dtype: torch.dtype) -> torch.Tensor:
    """0 where a position up to `newest` is read and -inf beyond; `newest` is broadcast against `[width]`."""
    beyond = torch.arange(width, device=newest.device) > newest
    return torch.zeros(beyond.shape, dtype=dtype, device=newest.device).masked_fill_(beyond, float("-inf"))


def observe(
    jobs: list[Job], logits: torch.Tensor, picked: torch.Tensor, hidden: tuple[torch.Tensor, ...], rows: list[int]
) -> None:
    """Add the asked-for signals of the newest token to each job's trace.

    logits `[jobs, vocab]` are the model's own; `hidden` holds `[padded, 1, d]` a layer, and `rows` says which is whose.
    """
    logprobs = torch.log_softmax(logits, -1)
    chosen = logprobs.gather(1, picked[:, None])[:, 0].tolist()
    watches = [job.request.watch.signal if job.request.watch is not None else "" for job in jobs]
    entropy, confidence = [], []
    if any(job.request.signals.entropy or kind == "entropy" for job, kind in zip(jobs, watches, strict=True)):
        entropy = torch.special.entr(logprobs.exp()).sum(-1).tolist()
    if "confidence" in watches:
        confidence = (-logprobs.topk(20).values.mean(-1)).tolist()
    top = max(job.request.signals.top_logprobs for job in jobs)
    values, tokens = (x.cpu().numpy() for x in logprobs.topk(top)) if top else (None, None)
    for i, (job, kind) in enumerate(zip(jobs, watches, strict=True)):
        signals, trace = job.request.signals, job.trace
        if signals.logprobs or kind == "logprob":
            trace.setdefault("logprobs", []).append(chosen[i])
        if signals.entropy or kind == "entropy":
            trace.setdefault("entropy", []).append(entropy[i])
        if values is not None and tokens is not None and signals.top_logprobs:
            trace.setdefault("top_logprobs", []).append(values[i, : signals.top_logprobs])
            trace.setdefault("top_ids", []).append(tokens[i, : signals.top_logprobs])
        if kind == "confidence":
            trace.setdefault("confidence", []).append(confidence[i])
        for layer in signals.hidden:
            trace.setdefault(f"hidden{layer}", []).append(hidden[layer][rows[i], -1].float().cpu().numpy().copy())


def _place(job: Job) -> tuple[int, int]:
    assert job.state.row is not None
    return job.state.row.slab.width, job.state.row.index
