"""Merges: from the weights of models of one make to the weights of one model, without training.

A merge is any frozen, hashable object with a `card` that can be called as `Merge` says: with one tensor of the base and
the same tensor of each model, in float32. It knows no files and no library.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from satisfice.core.card import Card
from satisfice.core.method import Kind

Weights = NDArray[np.float32]


class Merge(Protocol):
    """Merges one tensor of several models. All have the shape of the base's, and so has the result.

    `strength` names the field that a sweep goes through: how far from the base the result is.
    """

    card: ClassVar[Card]
    strength: ClassVar[str]

    def __call__(self, base: Weights, others: Sequence[Weights], /) -> Weights: ...


@runtime_checkable
class Recipe(Protocol):
    """A merge that mergekit can do as well, which streams large models and shares tensors between files."""

    def recipe(self, base: str, others: Sequence[str]) -> Mapping[str, Any]:
        """Return mergekit's configuration for models in folders."""
        ...


MERGE: Kind[Merge] = Kind(
    name="merge",
    protocol=Merge,
    example="task-arithmetic:0.7, ties(weight=0.7, density=0.7)",
    about="A merge is called with one tensor of the base and of each model, `merge(base, others)`, and returns one.",
    battery="satisfice.testing.merges:check_merge",
)
