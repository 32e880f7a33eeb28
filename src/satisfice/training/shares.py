"""What each token of a batch weighs in the losses."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from satisfice.core.rollouts import Floats, Rollouts
from satisfice.core.shaper import Loss, Shaped

COLUMN = "column/"
"""Stands before the names of `Shaped.columns` among the parts of a batch."""


def weighed(
    loss: Loss, limit: int, size: int, known: Sequence[int], batch: Rollouts, shaped: Shaped
) -> dict[str, Floats]:
    """Advantage and shares of each token of `size` rows, [size, T], and what the terms of the loss read.

    `known` are the rows that the batch has; the others, whose verdict is unknown, weigh nothing. `limit` in tokens is
    the constant of a loss that does not name its own.
    """
    mask = batch["mask"]
    share = replace(loss, constant=loss.constant or limit).share(mask, shaped.keep)

    def times(weight: Floats | None) -> Floats:
        return share * (1.0 if weight is None else _wide(weight, mask))

    parts = {
        "advantage": _wide(shaped.advantage, mask),
        "share": times(shaped.weight),
        "plain_share": share,
        "entropy_share": times(shaped.entropy_weight),
    }
    parts = {name: values * mask for name, values in parts.items()}
    parts |= {f"{COLUMN}{name}": values for name, values in shaped.columns.items()}
    full = {name: np.zeros((size, *values.shape[1:])) for name, values in parts.items()}
    for name, values in parts.items():
        full[name][list(known)] = values
    return full


def _wide(values: Floats, mask: Any) -> Floats:
    return values if values.ndim == 2 else np.repeat(values[:, None], mask.shape[1], axis=1)


def empty_groups(batch: Rollouts, shaped: Shaped) -> list[int]:
    """Return groups of which nothing is kept."""
    some = batch.groups.any(shaped.keep)
    return sorted({int(g) for g in batch.group[~some]})
