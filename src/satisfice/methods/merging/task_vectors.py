"""What several merges do to task vectors: trim them, elect signs, write them down for mergekit."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from satisfice.core.merge import Weights


def task_vectors(base: Weights, others: Sequence[Weights]) -> list[Weights]:
    """Return how far each model is from the base, in float32: differences in bfloat16 would be mostly rounding."""
    start = base.astype(np.float32)
    return [other.astype(np.float32) - start for other in others]


def trimmed(delta: Weights, density: float) -> Weights:
    """Return a task vector with its largest entries alone, `int(density n)` of them, at least one; the rest is 0.

    >>> trimmed(np.array([0.5, -0.25, 0.05, 0.3125], dtype=np.float32), 0.75).tolist()
    [0.5, -0.25, 0.0, 0.3125]
    """
    flat = delta.ravel()
    n = max(1, math.floor(density * flat.size))
    if n >= flat.size:
        return delta
    kept = np.zeros_like(flat)
    largest = np.argsort(-np.abs(flat), kind="stable")[:n]
    kept[largest] = flat[largest]
    return kept.reshape(delta.shape)


def elected(deltas: Sequence[Weights]) -> Weights:
    """Return the mean of the entries that agree with the elected sign, which is that of their sum; of 0 it is plus.

    Entries that are 0 agree with none.

    >>> elected([np.array([0.5, -0.25, 0, 0.5]), np.array([0.25, 0.5, 0, -0.75])]).tolist()
    [0.375, 0.5, 0.0, -0.75]
    """
    stacked = np.stack(deltas)
    sign = np.where(stacked.sum(0) >= 0, 1, -1)
    agree = np.sign(stacked) == sign
    return np.asarray((stacked * agree).sum(0) / np.maximum(agree.sum(0), 1), dtype=np.float32)


def configuration(
    method: str, base: str, others: Sequence[str], each: Mapping[str, Any], **parameters: Any
) -> dict[str, Any]:
    """Return mergekit's configuration: `each` stands with every model, `parameters` with the merge.

    What mergekit's defaults are is said here all the same: they differ from method to method.
    """
    return {
        "merge_method": method, "base_model": base, "dtype": "float32", "parameters": parameters,
        "models": [{"model": other, "parameters": dict(each)} for other in others],
    }  # fmt: skip
