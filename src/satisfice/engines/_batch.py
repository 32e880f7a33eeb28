"""The chains that advance together, as arrays: what one decode step needs, kept from step to step.

A batch is planned when a chain joins, leaves or moves, and only counted on between. So a step costs a few array
operations, however many chains there are.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satisfice.core.engine import Request, Sampled
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
    """Jobs in the order of their rows, and an entry of each array for each of them."""

    def __init__(self, jobs: list[Job], max_length: int, device: torch.device) -> None:
        self.jobs = sorted(jobs, key=_place)
        self.device = device
        requests = [job.request for job in self.jobs]
        states = [job.state for job in self.jobs]
        self.at = np.array([state.valid for state in states], dtype=np.int64)  # position that is read next
        self.unread = np.array([len(state.ids) - 1 - state.valid for state in states])  # tokens known beyond it
        self.tokens = np.array([state.ids[state.valid] for state in states], dtype=np.int64)
        self.room = np.array([state.row.slab.width for state in states if state.row])
        self.ends = np.array([min(job.begin + job.request.limit, max_length) for job in self.jobs])
        self.stops = np.array([job.stops for job in self.jobs])
        self.watched = np.array([request.watch is not None for request in requests])
        self.asked = np.array([bool(request.signals.needs) or request.watch is not None for request in requests])
        self.read = 0  # tokens that went through the model in the last step
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

    def advance(self, take: NDArray[np.int64] | None) -> NDArray[np.intp]:
        """All have read `take` tokens (None: one each); returns which of them are to sample now."""
        for job, n in zip(self.jobs, itertools.repeat(1) if take is None else take.tolist(), strict=False):
            state = job.state
            state.valid += n
            if state.known < state.valid:
                state.known = state.valid
        step: Any = 1 if take is None else take
        self.read = len(self.jobs) if take is None else int(take.sum())
        self.at += step
        behind = self.unread >= step
        self.unread = np.where(behind, self.unread - step, 0)
        for i in np.flatnonzero(behind):
            self.tokens[i] = self.jobs[i].state.ids[self.at[i]]
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


def observe(jobs: list[Job], logits: torch.Tensor, picked: torch.Tensor, hidden: tuple[torch.Tensor, ...]) -> None:
    """Add the asked-for signals of the newest token to each job's trace.

    logits `[jobs, vocab]` are the model's own; `hidden` holds `[jobs, d]` a layer.
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
            trace.setdefault(f"hidden{layer}", []).append(hidden[layer][i].float().cpu().numpy().copy())


def _place(job: Job) -> tuple[int, int]:
    assert job.state.row is not None
    return job.state.row.slab.width, job.state.row.index
