"""Rollouts of earlier steps in the places of those that teach nothing.

A trainer has a fixed number of rows in a step. Groups that are all right or all wrong have no advantage and take part
in nothing but the denominators, so remembered rollouts take their places: the step costs what it cost before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from satisfice.core.rollouts import Floats, Rollouts
from satisfice.core.shaper import Loss, Shaped

Memory = tuple[Mapping[str, Any], float]
"""What is remembered of a rollout (prompt, ids, logprob) and its advantage as of now."""


def silent_rows(batch: Rollouts, shaped: Shaped) -> list[int]:
    """Return rows of groups without any advantage."""
    felt = np.abs(shaped.advantage.reshape(len(batch), -1)).max(axis=1) > 1e-9
    return [int(row) for row in np.flatnonzero(~batch.groups.any(felt))]


def picked(memories: Sequence[Memory], places: int, seed: int) -> list[Memory]:
    """As many remembered rollouts as there are places, drawn without putting back."""
    order = np.random.default_rng(seed).permutation(len(memories))
    return [memories[i] for i in order[:places]]


def with_memories(
    parts: Mapping[str, Floats],
    mine: Mapping[int, Memory],
    everything: Sequence[Mapping[str, Any]],
    loss: Loss,
    limit: int,
    weight: float,
) -> dict[str, Floats]:
    """Return the parts of a batch, [b, T] or [b] each, with remembered rollouts in the rows that `mine` names.

    Their loss is averaged over `everything` that is replayed in this step, as the loss averages a batch, and weighs
    `weight` beside the batch's own. `behaviour` are the log-probabilities that they were sampled with, NaN elsewhere.
    """
    lengths = [len(memory["ids"]) for memory in everything]
    width = max([*lengths, parts["share"].shape[1]])
    found = {
        name: np.pad(values, ((0, 0), (0, width - values.shape[1]))) if values.ndim > 1 else values.copy()
        for name, values in parts.items()
    }
    found["behaviour"] = np.full_like(found["share"], np.nan)
    mask = np.arange(width) < np.array(lengths, dtype=np.int64).reshape(-1, 1)
    shares = replace(loss, constant=loss.constant or limit).share(mask) * weight
    numbers = {id(memory): number for number, memory in enumerate(everything)}
    for row, (memory, advantage) in mine.items():
        number, n = numbers[id(memory)], len(memory["ids"])
        for name in parts:
            found[name][row] = 0.0
        found["share"][row] = shares[number]
        found["advantage"][row, :n] = advantage
        found["behaviour"][row, :n] = memory["logprob"]
    return found
