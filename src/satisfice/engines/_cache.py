"""The key-value cache of the local engine: one tensor a layer, one row a chain, and the attention that reads it.

Nothing is copied on drop, cut or when a probe runs in its parent's row; a fork that must live beside its parent copies
only the positions that are really shared.
"""

from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedConfig

BLOCK = 64  # positions; attention widths are multiples, which keeps every row's rounding independent of its neighbours
MIN_ROWS = 16  # rows of a matrix product; below about ten the CPU's kernels round differently
ATTENTION = "satisfice_rows"


class RowCache:
    """Keys and values of shape `[rows, kv_heads, positions, head_dim]` for each layer.

    It stands in for a transformers `Cache`: `update` is called by every attention layer. `bind` says beforehand which
    rows and positions the coming forward pass is about.
    """

    def __init__(self, config: PreTrainedConfig, rows: int, dtype: torch.dtype, device: torch.device) -> None:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.shape = (rows, heads, 0, dim)
        self.dtype, self.device = dtype, device
        self.layers: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._layer_count = config.num_hidden_layers
        self.rows = torch.empty(0, dtype=torch.long, device=device)  # [batch]
        self.positions = torch.empty(0, 0, dtype=torch.long, device=device)  # [batch, tokens]
        self.width = 0
        self.span = 0  # decode: rows 0..span-1 are read in place; 0: the bound rows are gathered (prefill)
        self.reserve(BLOCK)

    @property
    def capacity(self) -> int:
        """Positions allocated."""
        return self.shape[2]

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(k.numel() * k.element_size() * 2 for k, _ in self.layers)

    def reserve(self, positions: int) -> None:
        """Make room for this many positions; doubles, so that growth is rare."""
        if positions <= self.capacity:
            return
        grown = max(2 * self.capacity, -(-positions // BLOCK) * BLOCK)
        shape = (*self.shape[:2], grown, self.shape[3])
        fresh = []
        for layer in range(self._layer_count):
            keys, values = (torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in range(2))
            if self.layers:
                keys[:, :, : self.capacity], values[:, :, : self.capacity] = self.layers[layer]
            fresh.append((keys, values))
        self.layers, self.shape = fresh, shape

    def copy(self, source: int, target: int, positions: int) -> None:
        """Copy the first `positions` of one row into another."""
        for keys, values in self.layers:
            keys[target, :, :positions] = keys[source, :, :positions]
            values[target, :, :positions] = values[source, :, :positions]

    def bind(self, rows: torch.Tensor, positions: torch.Tensor, width: int, span: int) -> None:
        """The next forward pass writes `[batch, tokens]` positions of these rows and reads `width` positions."""
        self.rows, self.positions, self.width, self.span = rows, positions, width, span

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write `[batch, kv_heads, tokens, head_dim]` and return what attention is to read."""
        own_keys, own_values = self.layers[layer]
        index = (self.rows[:, None], slice(None), self.positions)
        own_keys[index] = keys.transpose(1, 2)
        own_values[index] = values.transpose(1, 2)
        if self.span:
            return own_keys[: self.span, :, : self.width], own_values[: self.span, :, : self.width]
        return own_keys[self.rows, :, : self.width], own_values[self.rows, :, : self.width]

    def get_seq_length(self, layer: int = 0) -> int:
        """Unused: positions are always given."""
        return 0


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    scaling: float,
    rows: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Grouped-query attention over cache rows, as two batched products on views.

    query `[batch, heads, tokens, head_dim]`; keys and values `[span, kv_heads, width, head_dim]`; mask
    `[span, 1, tokens, width]`, 0 or -inf. In decoding (`rows` given) query i belongs to cache row `rows[i]`, otherwise
    span is the batch. Returns `[batch, tokens, heads, head_dim]`. Written out because the fused CPU kernel rounds a
    row differently when its neighbours change.
    """
    for name in ("softcap", "s_aux"):
        if kwargs.get(name) is not None:
            raise NotImplementedError(f"attention with {name} is not supported by the local engine")
    _, heads, tokens, dim = query.shape
    span, kv_heads, width, _ = keys.shape
    query = query * scaling
    if rows is not None:
        placed = query.new_zeros(span, heads, tokens, dim)
        placed[rows] = query
        query = placed
    group = heads // kv_heads
    folded = query.reshape(span * kv_heads, group * tokens, dim)
    scores = torch.bmm(folded, keys.flatten(0, 1).transpose(1, 2)).view(span, kv_heads, group, tokens, width)
    scores += mask[:, :, None]
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype)
    out = torch.bmm(weights.view(span * kv_heads, group * tokens, width), values.flatten(0, 1))
    out = out.view(span, heads, tokens, dim).transpose(1, 2)
    return (out if rows is None else out[rows]), None


AttentionInterface.register(ATTENTION, attend)
