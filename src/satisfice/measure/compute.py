"""What tokens cost: floating-point operations of a sample, and the bytes of weights that one token reads.

From a model's `config.json`, for dense and mixture-of-experts decoders of the kinds in `KINDS`. A forward pass of one
token with c tokens of context (itself included) takes

    2 x (parameters of the layers that it uses)          a multiplication and an addition each
    + 4 x layers x heads x width of a head x c           scores against c keys, and the mean of c values
    + 2 x vocabulary x width                             where the next token is sampled from it: not while prefilling

(Kaplan et al. 2020, arXiv:2001.08361, Sec. 2.1, with attention as in Hoffmann et al. 2022, arXiv:2203.15556, App. F.)
Parameters are those of matrices: norms, biases and the softmax are left out, and so is the look-up of embeddings.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from satisfice.core.errors import SatisficeError
from satisfice.models.resolve import model_folder

KINDS = ("llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "mixtral")
"""Values of `model_type` whose layers are counted here."""

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a model's configuration decides how much it computes."""

    layers: int
    width: int
    heads: int
    key_heads: int  # heads of keys and values
    head_width: int
    inner: int  # width of the feed-forward part, of one expert where there are several
    experts: int = 1  # that a token uses
    routed: int = 0  # experts that there are; 0: no routing
    vocabulary: int

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer that a token uses."""
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.key_heads)
        return attention + 3 * self.width * self.inner * self.experts + self.width * self.routed

    @property
    def active_parameters(self) -> int:
        """Parameters that the forward pass of a sampled token uses."""
        return self.layers * self.layer_parameters + self.vocabulary * self.width

    def weight_bytes(self, dtype: str) -> int | None:
        """Return the bytes of weights that one token reads at batch size one; None for a type that is not known."""
        size = BYTES.get(dtype.removeprefix("torch."))
        return None if size is None else size * self.active_parameters

    def flops(self, context: int, tokens: int, sampled: int) -> int:
        """Return the operations of `tokens` forward passes in a row after `context` tokens; `sampled` are sampled from.

        >>> two = Shape(layers=2, width=8, heads=2, key_heads=1, head_width=4, inner=16, vocabulary=32)
        >>> two.flops(0, 1, 0), two.flops(0, 1, 1) - two.flops(0, 1, 0), two.flops(9, 1, 0) - two.flops(0, 1, 0)
        (2368, 512, 576)
        """
        seen = tokens * context + tokens * (tokens + 1) // 2
        body = 2 * tokens * self.layers * self.layer_parameters
        return body + 4 * self.layers * self.heads * self.head_width * seen + 2 * sampled * self.vocabulary * self.width


class Grown(Protocol):
    """What is read of a chain."""

    name: str
    sampled: int
    injected: int
    prefilled: int


def sample_flops(shape: Shape, prompt: int, chains: Iterable[Grown], begins: Mapping[str, int]) -> int:
    """Return the operations of all chains of one problem.

    The prompt is prefilled once, and its last token gives the first one's scores. Each chain computes what it sampled
    and what was put into it, in a row from where it began: after the prompt, or `begins` tokens behind it where it was
    forked. What was computed again because a prefix was lost is a prefill from the beginning.
    """
    total = shape.flops(0, prompt, 0)
    for chain in chains:
        begin = prompt + begins.get(chain.name, 0)
        total += shape.flops(begin, chain.sampled + chain.injected, chain.sampled)
        total += shape.flops(0, chain.prefilled, 0)
    return total


@functools.cache
def shape_of(model: str) -> Shape | None:
    """Return the shape of a model by its name; None where its configuration is not known, as that of a server."""
    if "://" in model:
        return None
    try:
        folder = model_folder(model.removeprefix("vllm:").partition("?")[0])
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (SatisficeError, OSError, ValueError):
        return None
    return read_shape(config) if isinstance(config, dict) else None


def costs(model: str, dtype: str) -> dict[str, int | None]:
    """Return what one token of a model costs at batch size one, without attention: for `environment`."""
    shape = shape_of(model)
    if shape is None:
        return {"active_parameters": None, "flops": None, "weight_bytes": None}
    parameters = shape.active_parameters
    return {"active_parameters": parameters, "flops": 2 * parameters, "weight_bytes": shape.weight_bytes(dtype)}


def read_shape(config: Mapping[str, Any]) -> Shape | None:
    """Return the shape that a `config.json` describes; None for another kind of model."""
    if config.get("model_type") not in KINDS or "sliding_attention" in (config.get("layer_types") or ()):
        return None
    try:
        heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
        routed = int(config.get("num_experts") or config.get("num_local_experts") or 0)
        return Shape(
            layers=int(config["num_hidden_layers"]), width=width, heads=heads,
            key_heads=int(config.get("num_key_value_heads") or heads),
            head_width=int(config.get("head_dim") or width // heads),
            inner=int(config.get("moe_intermediate_size") or config["intermediate_size"]) if routed
            else int(config["intermediate_size"]),
            experts=int(config["num_experts_per_tok"]) if routed else 1, routed=routed,
            vocabulary=int(config["vocab_size"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None
