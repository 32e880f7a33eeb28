"""How much an answer misses a stretch of the thinking: measured by a model, one forward pass per stretch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from satisfice.core.trace import Trace

ROWS = 32  # sequences in one forward pass


@runtime_checkable
class Measuring(Protocol):
    """A builder that wants to know what an answer loses without some stretches."""

    def stretches(self, trace: Trace) -> Sequence[tuple[int, int]]:
        """Return them, in tokens."""
        ...


def with_absence(
    traces: Sequence[Trace], builder: Measuring, folder: Path, *, told: Callable[[int, int], None] | None = None
) -> list[Trace]:
    """Return the chains with what their answers lose without each stretch that the builder names.

        rise = NLL(answer | prompt, thinking without the stretch) - NLL(answer | prompt, thinking)

    Mean negative log-probability per token of everything behind the thinking, nats, under the model in `folder`, whose
    tokens the chains must be in. Chains that are not right are not measured: nothing is made of them.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
    ).eval()
    found = []
    for n, trace in enumerate(traces):
        some = list(builder.stretches(trace)) if trace.right else []
        measured: list[tuple[int, int, float]] = []
        if some:
            answer = trace.ids[trace.thinking :]
            whole, *without = _nll(model, [(trace, None), *((trace, stretch) for stretch in some)], len(answer))
            measured = [(*stretch, value - whole) for stretch, value in zip(some, without, strict=True)]
        found.append(replace(trace, absence=tuple(measured)))
        if told is not None:
            told(n + 1, len(traces))
    return found


def _nll(model: Any, asked: Sequence[tuple[Trace, tuple[int, int] | None]], answer: int) -> list[float]:
    """Return the mean negative log-probability of the answer in each sequence; all end in it."""
    found: list[float] = []
    for batch in _batches([_sequence(*one) for one in asked], ROWS):
        longest = max(map(len, batch))
        ids = torch.tensor([[0] * (longest - len(one)) + list(one) for one in batch])  # on the left: answers line up
        mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in batch])
        place = (mask.cumsum(-1) - 1).clamp(min=0)
        with torch.no_grad():
            logits: Tensor = model(input_ids=ids, attention_mask=mask, position_ids=place).logits[:, -answer - 1 : -1]
        chosen = logits.float().log_softmax(-1).gather(-1, ids[:, -answer:, None])[..., 0]
        found += (-chosen.mean(-1)).tolist()
    return found


def _sequence(trace: Trace, stretch: tuple[int, int] | None) -> tuple[int, ...]:
    if stretch is None:
        return trace.prompt + trace.ids
    begin, end = stretch
    return trace.prompt + trace.ids[:begin] + trace.ids[end:]


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
