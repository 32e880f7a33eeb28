"""Drop entries of each difference at random, and scale up what is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal
from zlib import crc32

import numpy as np

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.merge import Weights
from satisfice.methods.merging.task_vectors import configuration, elected, task_vectors


@dataclass(frozen=True, kw_only=True)
class Dare:
    """Drop entries of each difference from the base at random, scale up the rest, and merge what is left.

        tau_i = (theta_i - theta_0) m / density,   m = 1 with probability density
        theta = theta_0 + weight sum_i tau_i,   or as in `ties` with `then=ties`

    In expectation this is `task-arithmetic`. The differences of models that think long are large: densities well below
    0.5 did badly. ReCUT merges with `then=ties` at density and weight 0.25.
    """

    card: ClassVar = Card(
        id="dare",
        paper="arXiv:2311.03099",
        where="Sec. 3, drop and rescale; settings of arXiv:2503.20641",
        needs=frozenset(),
        fidelity="second-hand",
        system="l2s-merging",
        ours=("density", "seed"),
    )
    strength: ClassVar = "weight"

    weight: Annotated[float, Range(-1, 2)] = 0.7  # of what is left
    density: Annotated[float, Range(0, 1)] = 0.7  # probability that an entry stays, above 0
    then: Literal["linear", "ties"] = "linear"
    seed: Annotated[int, Range(0)] = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.density == 0:
            raise BadInput("dare: density must be above 0, got 0: nothing would be left.")

    def __call__(self, base: Weights, others: Sequence[Weights]) -> Weights:
        kept = [self.dropped(delta, i) for i, delta in enumerate(task_vectors(base, others))]
        merged = elected(kept) if self.then == "ties" else sum(kept)
        return np.asarray(base + np.float32(self.weight) * merged, dtype=np.float32)

    def dropped(self, delta: Weights, number: int) -> Weights:
        """Return a difference with entries dropped; which ones depends on the seed, the model and the tensor alone."""
        rng = np.random.default_rng((self.seed, number, crc32(np.ascontiguousarray(delta).tobytes())))
        return np.asarray(delta * (rng.random(delta.shape) < self.density) / self.density, dtype=np.float32)

    def recipe(self, base: str, others: Sequence[str]) -> Mapping[str, Any]:
        each = {"weight": 1.0, "density": self.density}
        method = "dare_ties" if self.then == "ties" else "dare_linear"
        settings = {"normalize": self.then == "ties", "rescale": True, "lambda": self.weight}
        return {**configuration(method, base, others, each, **settings)}
