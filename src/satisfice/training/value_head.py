"""A value head on the policy: one linear map of the last hidden state, which it reads and does not change."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from satisfice.training.trl_source import ADDED

NAME = f"{ADDED}value"


def with_value_head(model: Any) -> None:
    """Add a head to the model, so that the optimiser and checkpoints have it; it expects nothing at first."""
    width = model.get_output_embeddings().in_features
    head = torch.nn.Linear(width, 1, device=model.device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    model.add_module(NAME, head)


def without_value_head(model: Any) -> None:
    """Take the head off again, if there is one: it is no part of the model that comes out."""
    if hasattr(model, NAME):
        delattr(model, NAME)


@contextlib.contextmanager
def heard_values(model: Any | None) -> Iterator[Callable[[int], Tensor | None]]:
    """Listen to forward passes of the model; what comes out gives the values of the last T tokens, [b, T].

    The value of a token is that of the state before it: what its log-probability is computed from. Gradients reach the
    head and stop there. Without a model there are no values.
    """
    heard: list[Tensor] = []
    if model is None:
        yield lambda width: None
        return

    def values(width: int) -> Tensor:
        states = torch.cat(heard).detach()[:, -width - 1 : -1]
        found: Tensor = getattr(model, NAME)(states.to(getattr(model, NAME).weight.dtype)).squeeze(-1)
        return found

    # Not at the output matrix: TRL computes log-probabilities from the states in a way that does not call it.
    hook = model.get_decoder().register_forward_hook(lambda module, args, out: heard.append(out[0]))
    try:
        yield values
    finally:
        hook.remove()
