"""Go part of the way from the base to the others, in a straight line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.merge import Weights
from satisfice.methods.merging.task_vectors import configuration, task_vectors


@dataclass(frozen=True, kw_only=True)
class TaskArithmetic:
    """Add the weighted differences from the base: part of the way from one model to the other, in a straight line.

        theta = theta_0 + weight sum_i (theta_i - theta_0)

    With one model: 0 is the base, 1 that model, above 1 beyond it. About 0.7 did best for models of 7 billion
    parameters that think long, with the quick model as the base.
    """

    card: ClassVar = Card(
        id="task-arithmetic",
        paper="arXiv:2503.20641",
        where="Sec. 3.2, task arithmetic",
        needs=frozenset(),
        fidelity="second-hand",
        system="l2s-merging",
    )
    strength: ClassVar = "weight"

    weight: Annotated[float, Range(-1, 2)] = 0.7  # of each difference

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, base: Weights, others: Sequence[Weights]) -> Weights:
        return np.asarray(base + np.float32(self.weight) * sum(task_vectors(base, others)), dtype=np.float32)

    def recipe(self, base: str, others: Sequence[str]) -> Mapping[str, Any]:
        each = {"weight": self.weight}
        return configuration("task_arithmetic", base, others, each, normalize=False)
