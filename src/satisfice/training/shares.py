"""What each token of a batch weighs in the losses."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from satisfice.core.rollouts import Floats, Rollouts
from satisfice.core.shaper import Loss, Shaped


def weighed(
    loss: Loss, limit: int, size: int, known: Sequence[int], batch: Rollouts, shaped: Shaped
) -> dict[str, Floats]:
    """Advantage, shares and targets of each token of `size` rows, [size, T].

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
    if shaped.value_target is not None:
        parts |= {"value_target": shaped.value_target, "value_share": times(shaped.value_weight)}
    parts = {name: values * mask for name, values in parts.items()}
    if shaped.wanted_mode is not None:  # said of the prompt, so also where the first token is none of the policy's
        rows = np.maximum((shaped.wanted_mode != 0).sum(), 1)
        parts["wanted_mode"] = np.repeat(shaped.wanted_mode[:, None] / rows, mask.shape[1], axis=1)
    full = {name: np.zeros((size, mask.shape[1])) for name in parts}
    for name, values in parts.items():
        full[name][list(known)] = values
    return full


def _wide(values: Floats, mask: Any) -> Floats:
    return values if values.ndim == 2 else np.repeat(values[:, None], mask.shape[1], axis=1)


def empty_groups(batch: Rollouts, shaped: Shaped) -> list[int]:
    """Return groups of which nothing is kept."""
    some = batch.groups.any(shaped.keep)
    return sorted({int(g) for g in batch.group[~some]})
