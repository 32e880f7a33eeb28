"""Take the largest changes that a training made, and part of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.merge import Weights
from satisfice.methods.merging.task_vectors import configuration, task_vectors, trimmed


@dataclass(frozen=True, kw_only=True)
class DlerMerge:
    """Add to a model the largest changes that training for brevity made, weighted: to win back what it lost.

        theta = theta_0 + weight Top_density(theta_1 - theta_0),   by magnitude, per tensor

    The base is the model before the training. Whether the paper takes the largest per tensor or of all is not said.
    """

    card: ClassVar = Card(
        id="dler-merge",
        paper="arXiv:2510.15110",
        where="Sec. 4.6, update-selective merging",
        needs=frozenset(),
        fidelity="paper",
        system="dler",
    )
    strength: ClassVar = "weight"

    weight: Annotated[float, Range(-1, 2)] = 0.7  # of the changes that stay
    density: Annotated[float, Range(0, 1)] = 0.25  # share of changes that stays, largest first

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, base: Weights, others: Sequence[Weights]) -> Weights:
        if len(others) != 1:
            raise BadInput(f"dler-merge merges a model with what training made of it, one other; got {len(others)}.")
        (delta,) = task_vectors(base, others)
        return np.asarray(base + np.float32(self.weight) * trimmed(delta, self.density), dtype=np.float32)

    def recipe(self, base: str, others: Sequence[str]) -> Mapping[str, Any]:
        each = {"weight": self.weight, "density": self.density}
        return configuration("ties", base, others, each, normalize=False, **{"lambda": 1.0})
