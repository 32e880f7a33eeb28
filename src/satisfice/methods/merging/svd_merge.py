"""Keep what a few directions hold of each difference from the base."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.merge import Weights
from satisfice.methods.merging.task_vectors import task_vectors


def low_rank(delta: Weights, share: float) -> Weights:
    """Return a matrix with the largest `share` of its singular values alone, at least one; a vector stays as it is.

    >>> low_rank(np.diag([3.0, 1.0]).astype(np.float32), 0.5).tolist()
    [[3.0, 0.0], [0.0, 0.0]]
    """
    if delta.ndim != 2 or share == 1:
        return delta
    u, s, v = np.linalg.svd(delta, full_matrices=False)
    n = max(1, int(share * len(s)))
    return np.asarray((u[:, :n] * s[:n]) @ v[:n], dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class SvdMerge:
    """Add the weighted differences from the base after cutting each matrix of them to its largest singular values.

        theta = theta_0 + weight mean_i U_k S_k V_k^T of (theta_i - theta_0)

    Reconstructed: Twin-Merging keeps such an exclusive part beside a shared one, which takes a third merge to make;
    what the study of long-to-short merging ran is not published.
    """

    card: ClassVar = Card(
        id="svd",
        paper="arXiv:2503.20641",
        where="Sec. 3.3, merging by singular values",
        needs=frozenset(),
        fidelity="reconstructed",
        system="l2s-merging",
        ours=("weight", "rank"),
    )
    strength: ClassVar = "weight"

    weight: Annotated[float, Range(-1, 2)] = 0.7
    rank: Annotated[float, Range(0, 1)] = 0.2  # share of the singular values that is kept

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, base: Weights, others: Sequence[Weights]) -> Weights:
        kept = [low_rank(delta, self.rank) for delta in task_vectors(base, others)]
        return np.asarray(base + np.float32(self.weight / len(kept)) * sum(kept), dtype=np.float32)
