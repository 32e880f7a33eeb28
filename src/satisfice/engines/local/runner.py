"""What goes through the model in one pass: a token of every chain that decodes, and what others have yet to read.

`TorchPass` runs any model through torch: a step has one token a chain, and longer texts are read in passes of their
own before it. `KernelPass` runs small models through the compiled kernel, where a chain may read many tokens in the
very step in which others sample one.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from satisfice.engines.local.batch import Batch, Job, causal_mask
from satisfice.engines.local.cache import BLOCK, MIN_ROWS, RowCache, Segment, Slab, View
from satisfice.engines.local.forward import forward_of
from satisfice.engines.local.kernel import Draws, Kernel, Unavailable
from satisfice.engines.local.sequence import SequenceState

CHUNK = 64  # tokens that a pass of reading takes of each chain at most
READ = 256  # tokens; with the kernel, so many are read of one chain in a step
READ_ALL = 1024  # tokens; and of all chains, beside one each


@dataclass(frozen=True, kw_only=True)
class Step:
    """What came out of a step."""

    ready: NDArray[np.intp]  # the jobs that sample now
    scores: torch.Tensor | None  # [ready, vocab] float32; None when nobody samples
    states: tuple[torch.Tensor, ...]  # [ready, d] layer by layer, where the batch asks
    picked: NDArray[np.int64] | None = None  # [ready], where the tokens have been drawn already


class Pass(Protocol):
    """How a batch goes through the model."""

    mixed: bool
    """Whether a chain can read a text in the step in which others sample; if not, rows should lie side by side."""

    def step(self, batch: Batch) -> Step:
        """Read the next token of every job, and of some more than that; the batch moves on."""
        ...

    def read(self, states: list[SequenceState]) -> int:
        """Compute keys and values for all but the last token of each sequence; returns how many tokens that were."""
        ...


def pass_of(model: Any, cache: RowCache, longest: int, *, compiled: bool | None) -> Pass:
    """Return the quickest way for a model; None means compiled where that is possible.

    Raises:
        Unavailable: `compiled` is wanted and cannot be.
    """
    if compiled is not False:
        try:
            return KernelPass(Kernel(model, cache, longest), cache)
        except Unavailable:
            if compiled:
                raise
    return TorchPass(model, cache, longest)


class KernelPass:
    """Through the kernel, which takes any list of tokens."""

    mixed = True

    def __init__(self, kernel: Kernel, cache: RowCache) -> None:
        self._kernel, self._cache = kernel, cache

    def step(self, batch: Batch) -> Step:
        if not batch.unread.any():
            ready = want = np.arange(len(batch.jobs))
            tokens, positions, slabs, rows, begins, take = batch.tokens, batch.at, batch.slabs, batch.rows, want, None
            upto = positions + 1
        else:
            more = np.minimum(batch.unread, READ - 1)
            more[np.cumsum(more) - more >= READ_ALL] = 0
            take, jobs = more + 1, np.arange(len(batch.jobs))
            whose, ends = np.repeat(jobs, take), np.cumsum(take)
            begins = ends - take
            tokens, slabs, rows = batch.tokens[whose], batch.slabs[whose], batch.rows[whose]
            for i in np.flatnonzero(more):
                tokens[begins[i] : ends[i]] = batch.jobs[i].state.ids[batch.at[i] : batch.at[i] + take[i]]
            positions = (batch.at - begins)[whose] + np.arange(len(whose))
            ready = np.flatnonzero(take > batch.unread)
            want, upto = ends[ready] - 1, (batch.at + take)[ready]
        draws = (
            Draws(batch.temperature[ready], batch.top_p[ready], batch.chances(ready, upto), batch.biases(ready))
            if batch.plain
            else None
        )
        scores, states, picked = self._kernel(
            tokens, positions, slabs, rows, want, begins, hidden=batch.hidden, draws=draws
        )  # fmt: skip
        batch.advance(take)
        return Step(ready=ready, scores=scores if len(ready) else None, states=states, picked=picked)

    def read(self, states: list[SequenceState]) -> int:
        parts = [state.ids[state.valid : -1] for state in states]
        take = np.array([len(part) for part in parts])
        begins = np.cumsum(take) - take
        tokens = np.array([token for part in parts for token in part], dtype=np.int64)
        valid = np.array([state.valid for state in states])
        positions = np.repeat(valid - begins, take) + np.arange(len(tokens))
        rows = [state.row for state in states if state.row]
        slabs = np.repeat([self._cache.slabs.index(row.slab) for row in rows], take)
        places = np.repeat([row.index for row in rows], take)
        self._kernel(tokens, positions, slabs, places, np.zeros(0, dtype=np.int64), begins)
        for state in states:
            state.valid = len(state.ids) - 1
            state.known = max(state.known, state.valid)
        return len(tokens)


class TorchPass:
    """Through torch, one rectangle of tokens at a time.

    A step is padded to a multiple of `MIN_ROWS` with copies of the last job, and attention reads a multiple of `BLOCK`
    positions of each slab.
    """

    mixed = False

    def __init__(self, model: Any, cache: RowCache, longest: int) -> None:
        with torch.inference_mode():
            self.forward = forward_of(model, longest)
        self._cache, self._longest = cache, longest
        self._planned: list[Job] = []
        self._segments: list[Segment] = []

    def step(self, batch: Batch) -> Step:
        device, count = self._cache.device, len(batch.jobs)
        padding = -count % MIN_ROWS
        if batch.jobs is not self._planned:  # a list of its own for every change
            self._planned, self._segments = batch.jobs, self._split([job.state for job in batch.jobs], padding)
        tokens, at = (np.pad(a, (0, padding), mode="edge")[:, None] for a in (batch.tokens, batch.at))
        positions = torch.from_numpy(at).to(device)
        view = View(segments=tuple(self._reading(part, at, positions) for part in self._segments), positions=positions)
        scores, states = self.forward(
            torch.from_numpy(tokens).to(device), positions, view, head=True, hidden=batch.hidden
        )  # fmt: skip
        ready = batch.advance(None)
        if not len(ready) or scores is None:
            return Step(ready=ready, scores=None, states=())
        rows = slice(count) if len(ready) == count else torch.from_numpy(ready).to(device)
        return Step(
            ready=ready, scores=scores[:count, -1].float()[rows],
            states=tuple(layer[:count, -1][rows] for layer in states),
        )  # fmt: skip

    def read(self, states: list[SequenceState]) -> int:
        total, device = 0, self._cache.device
        while states := [state for state in states if state.valid < len(state.ids) - 1]:
            states.sort(key=lambda state: state.row.slab.width if state.row else 0)
            counts = [min(CHUNK, len(state.ids) - 1 - state.valid) for state in states]
            width = -(-max(counts) // MIN_ROWS) * MIN_ROWS
            tokens = np.zeros((len(states), width), dtype=np.int64)
            begin = np.array([state.valid for state in states])
            for i, (state, n) in enumerate(zip(states, counts, strict=True)):
                tokens[i, :n] = state.ids[state.valid : state.valid + n]
            at = begin[:, None] + np.arange(width)
            # What is beyond a sequence's own tokens is written to its last position, which is written again later.
            room = np.array([state.row.slab.width for state in states if state.row])
            at = np.minimum(at, np.minimum(room, self._longest)[:, None] - 1)
            positions = torch.from_numpy(at).to(device)
            view = View(segments=self._gathered(states, at, positions), positions=positions)
            self.forward(torch.from_numpy(tokens).to(device), positions, view, head=False)
            for state, n in zip(states, counts, strict=True):
                state.valid += n
                state.known = max(state.known, state.valid)
            total += sum(counts)
        return total

    def _split(self, states: list[SequenceState], padding: int) -> list[Segment]:
        """Return one segment for each slab; the padding belongs to the last."""
        found: list[Segment] = []
        slabs: list[Slab] = [state.row.slab for state in states if state.row]
        for begin in [i for i in range(len(slabs)) if i == 0 or slabs[i] is not slabs[i - 1]]:
            end = next((i for i in range(begin, len(slabs)) if slabs[i] is not slabs[begin]), len(slabs))
            rows = [state.row.index for state in states[begin:end] if state.row]
            if end == len(slabs):
                rows, end = rows + rows[-1:] * padding, end + padding
            found.append(
                Segment(
                    slab=slabs[begin], begin=begin, end=end, rows=torch.tensor(rows, device=self._cache.device),
                    span=max(rows) + 1, in_order=rows == list(range(len(rows))),
                )
            )  # fmt: skip
        return found

    def _reading(self, part: Segment, at: NDArray[np.int64], positions: torch.Tensor) -> Segment:
        """Return a segment of a step with what attention reads now."""
        width = -(-int(at[part.begin : part.end].max() + 1) // BLOCK) * BLOCK
        newest = torch.zeros(part.span, dtype=torch.long, device=positions.device)  # rows of others read position 0
        newest[part.rows] = positions[part.begin : part.end, 0]
        return replace(part, width=width, mask=causal_mask(newest[:, None, None, None], width, self._cache.dtype))

    def _gathered(
        self, states: list[SequenceState], at: NDArray[np.int64], positions: torch.Tensor
    ) -> tuple[Segment, ...]:
        """Return the segments of a pass of reading: states of one slab together."""
        segments = []
        rows = [state.row for state in states if state.row]
        for slab in dict.fromkeys(row.slab for row in rows):
            places = [i for i, row in enumerate(rows) if row.slab is slab]
            begin, end = places[0], places[-1] + 1
            width = -(-int(at[begin:end].max() + 1) // BLOCK) * BLOCK
            segments.append(
                Segment(
                    slab=slab, begin=begin, end=end, span=0, in_order=True, width=width,
                    rows=torch.tensor([rows[i].index for i in places], device=positions.device),
                    mask=causal_mask(positions[begin:end, None, :, None], width, self._cache.dtype),
                )
            )  # fmt: skip
        return tuple(segments)
