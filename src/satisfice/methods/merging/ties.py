"""Trim each difference to its largest entries, elect a sign for each entry, and average those that agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.merge import Weights
from satisfice.methods.merging.task_vectors import configuration, elected, task_vectors, trimmed


@dataclass(frozen=True, kw_only=True)
class Ties:
    """Trim each difference from the base to its largest entries, elect a sign per entry, average those that agree.

        tau_i = the `density` largest of |theta_i - theta_0|,   s = sign(sum_i tau_i)
        theta = theta_0 + weight mean of the tau_i whose sign is s

    Per tensor. `density` is the share that is *kept*: what the TIES papers call k; the authors of the study take it for
    the share that goes, so their 0.7 is 0.3 here. Try both.
    """

    card: ClassVar = Card(
        id="ties",
        paper="arXiv:2306.01708",
        where="Sec. 3, trim, elect, merge; settings of arXiv:2503.20641",
        needs=frozenset(),
        fidelity="second-hand",
        system="l2s-merging",
    )
    strength: ClassVar = "weight"

    weight: Annotated[float, Range(-1, 2)] = 0.7  # of what was merged
    density: Annotated[float, Range(0, 1)] = 0.7  # share of entries of each difference that is kept, largest first

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, base: Weights, others: Sequence[Weights]) -> Weights:
        kept = [trimmed(delta, self.density) for delta in task_vectors(base, others)]
        return np.asarray(base + np.float32(self.weight) * elected(kept), dtype=np.float32)

    def recipe(self, base: str, others: Sequence[str]) -> Mapping[str, Any]:
        # normalize divides by the weights of those that agree: with weights of 1 that is their mean. A weight in place
        # of lambda would be divided away with it.
        each = {"weight": 1.0, "density": self.density}
        return configuration("ties", base, others, each, normalize=True, **{"lambda": self.weight})
