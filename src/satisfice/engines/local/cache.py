"""The key-value cache of the local engine, and the attention that reads it.

A chain has a row, and rows of like length lie together in a slab: a decode step reads each slab in place, as far as
its longest chain goes. A row that is full moves to the next slab, twice as wide. So short chains are not charged for
the longest one, nothing is gathered, and nothing is copied on drop, cut or when a probe runs in its parent's row.
"""

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedConfig

BLOCK = 64  # positions; attention widths are multiples, which keeps every row's rounding independent of its neighbours
NARROWEST = 128  # positions in a row of the first slab
MIN_ROWS = 16  # rows of a matrix product; below about ten the CPU's kernels round differently
ATTENTION = "satisfice_rows"


@dataclass(eq=False)
class Slab:
    """Rows of one width. `layers` holds keys and values of shape `[rows, kv_heads, width, head_dim]` a layer."""

    width: int
    layers: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    free: list[int] = field(default_factory=list)  # taken from the end: low rows first

    @property
    def rows(self) -> int:
        """Rows allocated."""
        return self.layers[0][0].shape[0] if self.layers else 0


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The part of a batch, `begin` to `end`, whose chains lie in one slab, and what attention reads for it."""

    slab: Slab
    begin: int
    end: int
    rows: torch.Tensor  # [end - begin] row of each chain
    span: int  # decode: so many rows are read in place; 0: the rows are gathered (prefill)
    in_order: bool  # decode: chain i lies in row i
    width: int = 0  # positions that are read
    mask: torch.Tensor | None = None  # [span or chains, 1, tokens, width], 0 or -inf


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """The cache as one forward pass sees it; stands in for a transformers `Cache`."""

    segments: tuple[Segment, ...]
    positions: torch.Tensor  # [batch, tokens] that are written

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int, *args: Any, **kwargs: Any) -> Any:
        """Write `[batch, kv_heads, tokens, head_dim]`; returns what `attend` reads, a slab's part at a time."""
        for part in self.segments:
            index = (part.rows[:, None], slice(None), self.positions[part.begin : part.end])
            own = part.slab.layers[layer]
            own[0][index] = keys[part.begin : part.end].transpose(1, 2)
            own[1][index] = values[part.begin : part.end].transpose(1, 2)
        return self._read(layer), None

    def _read(self, layer: int) -> Iterator[tuple[Segment, torch.Tensor, torch.Tensor]]:
        for part in self.segments:
            keys, values = part.slab.layers[layer]
            rows = slice(part.span) if part.span else part.rows
            yield part, keys[rows, :, : part.width], values[rows, :, : part.width]

    def get_seq_length(self, layer: int = 0) -> int:
        """Unused: positions are always given."""
        return 0


class RowCache:
    """All slabs of a model, within a limit of memory."""

    def __init__(
        self, config: PreTrainedConfig, dtype: torch.dtype, device: torch.device, *, longest: int, limit: int
    ) -> None:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.dtype, self.device, self.limit = dtype, device, limit
        self._heads, self._dim, self._layer_count = heads, dim, config.num_hidden_layers
        self.position_bytes: int = 2 * heads * dim * config.num_hidden_layers * dtype.itemsize
        widths = [NARROWEST]
        while widths[-1] < longest:
            widths.append(2 * widths[-1])
        self.slabs = [Slab(width) for width in widths]
        self.changes = 0  # how often a slab was allocated anew

    @property
    def bytes(self) -> int:
        """Memory allocated."""
        return sum(slab.rows * slab.width for slab in self.slabs) * self.position_bytes

    @property
    def widest_row(self) -> int:
        """Bytes of the longest row that may be needed."""
        return self.slabs[-1].width * self.position_bytes

    def slab_for(self, length: int) -> Slab:
        """Return the narrowest slab whose rows hold this many positions."""
        return next(slab for slab in self.slabs if slab.width >= length)

    def take(self, slab: Slab) -> int | None:
        """Return a free row, allocated if need be; None when that would go beyond the limit."""
        if not slab.free:
            room = (self.limit - self.bytes) // (slab.width * self.position_bytes)
            more = min(max(MIN_ROWS * NARROWEST // slab.width, slab.rows, 1), room)  # doubles: growth is rare
            if more < 1:
                return None
            self._resize(slab, list(range(slab.rows)), slab.rows + more)
            slab.free = list(range(slab.rows - 1, slab.rows - 1 - more, -1))
        return slab.free.pop()

    def give(self, slab: Slab, row: int) -> None:
        """Take a row back."""
        slab.free.append(row)
        slab.free.sort(reverse=True)

    def shrink(self, slab: Slab, keep: list[int]) -> None:
        """Free the memory of all rows but these, which become rows 0, 1, ... in this order."""
        if len(keep) < slab.rows:
            self._resize(slab, keep, len(keep))
        slab.free = []

    def _resize(self, slab: Slab, keep: list[int], rows: int) -> None:
        shape = (rows, self._heads, slab.width, self._dim)
        index = torch.tensor(keep, dtype=torch.long, device=self.device)
        layers = [
            (_zeros(shape, self.dtype, self.device), _zeros(shape, self.dtype, self.device))
            for _ in range(self._layer_count if rows else 0)
        ]
        old, slab.layers = slab.layers, layers
        if old:
            for fresh in layers:  # a layer is freed once it is copied: on a CPU the slab is never there twice
                for new, before in zip(fresh, old.pop(0), strict=True):
                    torch.index_select(before, 0, index, out=new[: len(keep)])
        self.changes += 1

    def copy(self, source: Slab, row: int, target: Slab, into: int, positions: int) -> None:
        """Copy the first `positions` of one row into another."""
        for old, new in zip(source.layers, target.layers, strict=True):
            for a, b in zip(old, new, strict=True):
                b[into, :, :positions] = a[row, :, :positions]


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros; on a CPU the system hands out the pages when they are first written, so unused rows cost nothing.

    They are mapped, not taken from the heap: there, what is freed when slabs grow and shrink stays with the process.
    They are private to it (`ACCESS_COPY`): pages that may be shared take longer to hand out.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, access=mmap.ACCESS_COPY)
    return torch.frombuffer(memory, dtype=dtype).view(shape)


def attend(
    module: Any, query: torch.Tensor, keys: Any, values: None, mask: Any, scaling: float, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """Grouped-query attention over cache rows, for each slab as two batched products on views.

    query `[batch, heads, tokens, head_dim]`; `keys` is what `View.update` returned. Returns
    `[batch, tokens, heads, head_dim]`. Written out because the fused CPU kernel rounds a row differently when its
    neighbours change.
    """
    for name in ("softcap", "s_aux"):
        if kwargs.get(name) is not None:
            raise NotImplementedError(f"attention with {name} is not supported by the local engine")
    query = query * scaling
    parts = [_attend(part, query[part.begin : part.end], k, v) for part, k, v in keys]
    return parts[0] if len(parts) == 1 else torch.cat(parts), None


def _attend(part: Segment, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    span, kv_heads, width, dim = keys.shape
    _, heads, tokens, _ = query.shape
    if part.span and not part.in_order:
        placed = query.new_zeros(span, heads, tokens, dim)
        placed[part.rows] = query
        query = placed
    group = heads // kv_heads
    folded = query.reshape(span * kv_heads, group * tokens, dim)
    scores = _products(folded, keys.flatten(0, 1)).view(span, kv_heads, group, tokens, width)
    scores += part.mask[:, :, None]  # type: ignore[index]
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype)
    out = torch.bmm(weights.view(span * kv_heads, group * tokens, width), values.flatten(0, 1))
    out = out.view(span, heads, tokens, dim).transpose(1, 2)
    return out[part.rows] if part.span and not part.in_order else out


def _products(query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Every query with every key, `[n, queries, keys]` from `[n, queries, d]` and `[n, keys, d]`."""
    if query.dtype == torch.bfloat16 and query.device.type == "cpu" and query.shape[1] < MIN_ROWS:
        # The same numbers, sooner: CPUs rearrange the second of two bfloat16 matrices, so that is the small one.
        return torch.bmm(keys, query.transpose(1, 2)).transpose(1, 2).contiguous()
    return torch.bmm(query, keys.transpose(1, 2))


AttentionInterface.register(ATTENTION, attend)
