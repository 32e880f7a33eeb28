"""The chains that advance together, as arrays: what one decode step needs, kept from step to step.

Chains join and leave in place, and between that is only counted on: a step costs a few array operations, however many
chains there are.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from satisfice.core.engine import CONFIDENCE_OF, Request, Sampled
from satisfice.engines.local.sampler import draw, uniforms
from satisfice.engines.local.sequence import SequenceState


@dataclass(eq=False)
class Job:
    """One call of `sample`, while it waits and runs."""

    state: SequenceState
    request: Request
    wake: Callable[[], None]  # to be called in `home`
    home: asyncio.AbstractEventLoop
    begin: int  # length of the sequence when the call was made
    stops: int = 0  # index into the table of stop tokens
    prefilled: int = 0
    error: Exception | None = None
    result: Sampled | None = None
    trace: dict[str, list[Any]] = field(default_factory=dict)


_COLUMNS = (
    "at",  # position that is read next
    "unread",  # tokens known beyond it
    "tokens",  # the token there
    "ends",  # length at which the call is over
    "stops",  # row of the table of stop tokens
    "watched",  # whether a signal may end the call
    "asked",  # whether signals are wanted, or looked at by a watch
    "special",  # whether a sampler has a say
    "room",  # width of its row
    "slabs",  # number of its slab
    "rows",
    "keys",  # of its random numbers, the same bits signed
)
"""Rows of a batch's matrix of whole numbers, each an entry for every job."""


class Batch:
    """Jobs, and an entry of each array for each of them."""

    def __init__(self, max_length: int, device: torch.device) -> None:
        self.jobs: list[Job] = []
        self.device, self._max_length = device, max_length
        self.read = 0  # tokens that went through the model in the last step
        self._set(np.zeros((len(_COLUMNS), 0), dtype=np.int64), np.zeros((2, 0), dtype=np.float32))

    def _set(self, whole: NDArray[np.int64], real: NDArray[np.float32]) -> None:
        self._whole, self._real = np.ascontiguousarray(whole), np.ascontiguousarray(real)
        column = dict(zip(_COLUMNS, self._whole, strict=True))
        self.at, self.unread, self.tokens, self.ends = (column[n] for n in ("at", "unread", "tokens", "ends"))
        self.stops, self.watched, self.asked, self.special = (
            column[n] for n in ("stops", "watched", "asked", "special")
        )
        self.room, self.slabs, self.rows = (column[n] for n in ("room", "slabs", "rows"))
        self._keys = column["keys"].view(np.uint64)
        self.temperature, self.top_p = self._real

    def join(self, jobs: Sequence[Job]) -> None:
        """Take jobs in; `place` must follow."""
        if not jobs:
            return
        whole = np.array([self._line(job) for job in jobs], dtype=np.int64).T
        real = np.array([(job.request.temperature, job.request.top_p) for job in jobs], dtype=np.float32).T
        self.jobs += jobs
        self._set(np.concatenate((self._whole, whole), 1), np.concatenate((self._real, real), 1))
        self._changed()

    def leave(self, places: Sequence[int] | NDArray[np.intp]) -> None:
        """Let the jobs at these places go."""
        if not len(places):
            return
        stay = np.ones(len(self.jobs), dtype=bool)
        stay[places] = False
        self.jobs = list(itertools.compress(self.jobs, stay.tolist()))
        self._set(self._whole[:, stay], self._real[:, stay])
        self._changed()

    def order(self, places: NDArray[np.intp]) -> None:
        """Put the jobs into another order."""
        self.jobs = [self.jobs[i] for i in places]
        self._set(self._whole[:, places], self._real[:, places])

    def place(self, numbers: dict[Any, int]) -> None:
        """Look up where each job's row is now; `numbers` are those of the slabs."""
        rows = [job.state.row for job in self.jobs if job.state.row]
        self.rows[:] = [row.index for row in rows]
        self.slabs[:] = [numbers[row.slab] for row in rows]
        self.room[:] = [row.slab.width for row in rows]

    def _line(self, job: Job) -> tuple[int, ...]:
        state, request = job.state, job.request
        line = {
            "at": state.valid,
            "unread": len(state.ids) - 1 - state.valid,
            "tokens": state.ids[state.valid],
            "ends": min(job.begin + request.limit, self._max_length),
            "stops": job.stops,
            "watched": request.watch is not None,
            "asked": request.watch is not None or bool(request.signals.needs),
            "special": request.sampler is not None,
            "keys": request.key if request.key < 1 << 63 else request.key - (1 << 64),
        }
        return tuple(line.get(name, 0) for name in _COLUMNS)  # `place` fills in the others

    def _changed(self) -> None:
        requests = [job.request for job in self.jobs]
        self.hidden = any(request.signals.hidden for request in requests)
        self.told = [request.on_tokens for request in requests if request.on_tokens is not None]
        self.plain = not self.special.any()
        self._biased = any(request.bias for request in requests)

    def chances(self, ready: NDArray[np.intp], at: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the number in [0, 1) by which each job in `ready` draws its token for position `at`."""
        return uniforms(self._keys[ready], at)

    def biases(
        self, ready: NDArray[np.intp]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]] | None:
        """Where the biases of each job in `ready` begin `[ready + 1]`, their tokens, their values; None without any."""
        if not self._biased:
            return None
        found = [self.jobs[i].request.bias for i in ready]
        tokens = [token for bias in found for token in bias]
        values = [value for bias in found for value in bias.values()]
        begins = np.cumsum([0, *map(len, found)])
        return begins, np.array(tokens, dtype=np.int64), np.array(values, dtype=np.float32)

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
        if not self.unread.any():
            return np.arange(len(self.jobs))
        behind = self.unread >= step
        self.unread[:] = np.where(behind, self.unread - step, 0)
        for i in np.flatnonzero(behind):
            self.tokens[i] = self.jobs[i].state.ids[self.at[i]]
        return np.flatnonzero(~behind)

    def pick(self, ready: NDArray[np.intp], logits: torch.Tensor) -> NDArray[np.int64]:
        """Draw a token for each job in `ready` from its row of float32 `[len(ready), vocab]` scores.

        `broken` then has the error of each place in `ready` whose sampler failed.
        """
        self.broken: dict[int, Exception] = {}
        scores = logits
        if (bias := self.biases(ready)) is not None:
            begins, tokens, values = bias
            places = np.repeat(np.arange(len(ready)), np.diff(begins))
            where, added = (torch.from_numpy(np.stack((places, tokens))), torch.from_numpy(values))
            scores = scores.index_put(tuple(where.to(self.device)), added.to(self.device), accumulate=True)
        samplers: dict[int, list[int]] = {}
        for place in np.flatnonzero(self.special[ready]).tolist():
            if (sampler := self.jobs[ready[place]].request.sampler) is not None:
                samplers.setdefault(id(sampler), []).append(place)
        top_p = self.top_p[ready]
        filters: list[tuple[torch.Tensor, Any]] = [
            (torch.tensor(group, device=self.device), self._guarded(self.jobs[ready[group[0]]].request.sampler, group))
            for group in samplers.values()
        ]
        return np.asarray(draw(
            scores, torch.from_numpy(self.temperature[ready]).to(self.device),
            torch.from_numpy(top_p).to(self.device) if (top_p < 1).any() else None,
            torch.from_numpy(self.chances(ready, self.at[ready])).to(self.device), filters,
        ).cpu().numpy())  # fmt: skip

    def _guarded(self, sampler: Any, places: list[int]) -> Callable[[torch.Tensor], torch.Tensor]:
        """Wrap a sampler, which is somebody else's code: what it raises is an error of those who asked for it alone."""

        def filtered(scores: torch.Tensor) -> torch.Tensor:
            try:
                made: torch.Tensor = sampler(scores)
                if made.shape != scores.shape:
                    raise ValueError(f"it made {list(made.shape)} of scores {list(scores.shape)}")
                return made
            except Exception as error:  # noqa: BLE001
                self.broken |= dict.fromkeys(places, error)
                return scores

        return filtered


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
        confidence = (-logprobs.topk(CONFIDENCE_OF).values.mean(-1)).tolist()
    top = max(job.request.signals.top_logprobs for job in jobs)
    values, tokens = (x.cpu().numpy() for x in logprobs.topk(top)) if top else (None, None)
    for i, (job, kind) in enumerate(zip(jobs, watches, strict=True)):
        signals, trace = job.request.signals, job.trace
        if signals.logprobs:
            trace.setdefault("logprobs", []).append(chosen[i])
        if signals.entropy:
            trace.setdefault("entropy", []).append(entropy[i])
        if values is not None and tokens is not None and signals.top_logprobs:
            trace.setdefault("top_logprobs", []).append(values[i, : signals.top_logprobs])
            trace.setdefault("top_ids", []).append(tokens[i, : signals.top_logprobs])
        if kind:
            seen = {"logprob": chosen, "entropy": entropy, "confidence": confidence}[kind]
            trace.setdefault("watched", list(job.request.watched)).append(seen[i])
        for layer in signals.hidden:
            trace.setdefault(f"hidden{layer}", []).append(hidden[layer][i].float().cpu().numpy().copy())
