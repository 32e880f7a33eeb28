"""One forward pass over cache rows: through transformers' modules, or written out for Llama-like models.

A small model on a CPU spends as long between operations as in them. `Fused` computes what the modules of Llama,
Mistral, Qwen2 and Qwen3 compute with a third of the calls; every other architecture goes through its own modules. What
that is worth says `benchmarks/forward.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from satisfice.engines.local.cache import View, attend

Forward = Callable[..., tuple[torch.Tensor | None, tuple[torch.Tensor, ...]]]
"""(tokens `[batch, n]`, positions `[batch, n]`, cache, head, hidden) -> logits `[batch, n, vocab]` if `head`, and the
states `[batch, n, d]` before the first, between and after the last block if `hidden`."""

_LLAMA_LIKE = {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}
_FIXED_ROPE = {"default", "linear", "llama3", "yarn"}  # the angle of a position does not depend on the length


def forward_of(model: Any, longest: int) -> Forward:
    """Return the quickest forward pass for a model."""
    return Fused(model, longest) if fits(model) else Modules(model)


def fits(model: Any) -> bool:
    """Return whether `Fused` computes this model."""
    config = model.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return type(model).__name__ in _LLAMA_LIKE and config.hidden_act == "silu" and rope in _FIXED_ROPE


class Modules:
    """The model's own modules."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._no_mask = torch.zeros(1, 1, 1, 1, device=model.device)  # attention brings its own

    def __call__(
        self, tokens: torch.Tensor, positions: torch.Tensor, cache: View, *, head: bool, hidden: bool = False
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor, ...]]:
        out = (self._model if head else self._model.base_model)(
            input_ids=tokens, position_ids=positions, attention_mask=self._no_mask, past_key_values=cache,
            use_cache=True, output_hidden_states=hidden,
        )  # fmt: skip
        return out.logits if head else None, out.hidden_states if hidden else ()


@dataclass(frozen=True, kw_only=True)
class _Layer:
    norm: torch.Tensor
    qkv: torch.Tensor
    qkv_bias: torch.Tensor | None
    head_norms: tuple[torch.Tensor, torch.Tensor] | None
    out: torch.Tensor
    out_bias: torch.Tensor | None
    mlp_norm: torch.Tensor
    gate_up: torch.Tensor
    gate_up_bias: torch.Tensor | None
    down: torch.Tensor
    down_bias: torch.Tensor | None


class Fused:
    """Llama and its kin: one product for queries, keys and values, one for gate and up, residuals added within."""

    def __init__(self, model: Any, longest: int) -> None:
        base, config = model.model, model.config
        attention = base.layers[0].self_attn
        self._dim = attention.head_dim
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._scaling, self._eps = attention.scaling, config.rms_norm_eps
        self._embed, self._norm, self._head = base.embed_tokens.weight, base.norm.weight, model.lm_head.weight
        cos, sin = base.rotary_emb(self._embed[:1], torch.arange(longest, device=model.device)[None])
        half = self._dim // 2
        self._cos = cos[0, :, None].to(model.dtype)  # [longest, 1, head_dim]
        self._sin = torch.cat((-sin[0, :, :half], sin[0, :, half:]), -1)[:, None].to(model.dtype)
        self._layers = [_fuse(layer) for layer in base.layers]

    def __call__(
        self, tokens: torch.Tensor, positions: torch.Tensor, cache: View, *, head: bool, hidden: bool = False
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor, ...]]:
        batch, n = tokens.shape
        heads, kv_heads, dim = self._heads, self._kv_heads, self._dim
        x = F.embedding(tokens.flatten(), self._embed)
        size = (x.shape[1],)
        cos, sin = self._cos[positions.flatten()], self._sin[positions.flatten()]
        states = []
        for number, layer in enumerate(self._layers):
            if hidden:
                states.append(x.view(batch, n, -1))
            qkv = F.linear(F.rms_norm(x, size, layer.norm, self._eps), layer.qkv, layer.qkv_bias)
            turned, values = qkv.view(batch * n, heads + 2 * kv_heads, dim).split((heads + kv_heads, kv_heads), 1)
            if layer.head_norms is not None:
                parts = turned.split((heads, kv_heads), 1)
                turned = torch.cat(
                    [F.rms_norm(p, (dim,), w, self._eps) for p, w in zip(parts, layer.head_norms, strict=True)], 1
                )
            first, second = turned.chunk(2, -1)
            turned = torch.addcmul(turned * cos, torch.cat((second, first), -1), sin)
            query, keys = turned.split((heads, kv_heads), 1)
            read, _ = cache.update(
                keys.view(batch, n, kv_heads, dim).transpose(1, 2),
                values.view(batch, n, kv_heads, dim).transpose(1, 2),
                number,
            )
            seen, _ = attend(None, query.view(batch, n, heads, dim).transpose(1, 2), read, None, None, self._scaling)
            x = _add_linear(x, seen.reshape(batch * n, heads * dim), layer.out, layer.out_bias)
            gate_up = F.linear(F.rms_norm(x, size, layer.mlp_norm, self._eps), layer.gate_up, layer.gate_up_bias)
            gate, up = gate_up.chunk(2, -1)
            x = _add_linear(x, F.silu(gate) * up, layer.down, layer.down_bias)
        x = F.rms_norm(x, size, self._norm, self._eps)
        if hidden:
            states.append(x.view(batch, n, -1))
        return F.linear(x, self._head).view(batch, n, -1) if head else None, tuple(states)


def _add_linear(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    x = torch.addmm(x, y, weight.t())
    return x if bias is None else x + bias


def _fuse(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    qkv, qkv_bias = _join(attention.q_proj, attention.k_proj, attention.v_proj)
    gate_up, gate_up_bias = _join(mlp.gate_proj, mlp.up_proj)
    normed = hasattr(attention, "q_norm")
    return _Layer(
        norm=layer.input_layernorm.weight, mlp_norm=layer.post_attention_layernorm.weight,
        qkv=qkv, qkv_bias=qkv_bias, gate_up=gate_up, gate_up_bias=gate_up_bias,
        head_norms=(attention.q_norm.weight, attention.k_norm.weight) if normed else None,
        out=attention.o_proj.weight, out_bias=attention.o_proj.bias,
        down=mlp.down_proj.weight, down_bias=mlp.down_proj.bias,
    )  # fmt: skip


def _join(*linears: torch.nn.Linear) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return one matrix for several; their own weights become parts of it, so that nothing is held twice."""
    weight = torch.cat([linear.weight.detach() for linear in linears])
    biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
    for linear, part in zip(linears, weight.split([linear.out_features for linear in linears]), strict=True):
        linear.weight.data = part
    return weight, torch.cat(biases) if biases else None
