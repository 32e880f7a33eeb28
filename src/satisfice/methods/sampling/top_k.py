"""Keep the k likeliest tokens."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from satisfice.core.arrays import Array
from satisfice.core.card import Card, Need
from satisfice.core.fields import Range, check_fields
from satisfice.methods.sampling._arrays import Kept, Parameter, as_scores, nth_largest
from satisfice.methods.sampling.filter import truncate


@dataclass(frozen=True, kw_only=True)
class TopK:
    """Keep the k likeliest tokens.

        keep i  if  z_i >= (k-th largest z)

    Tokens that tie with the k-th are all kept, as in transformers; llama.cpp cuts at exactly k. Commutes with
    temperature.
    """

    card: ClassVar = Card(
        id="top-k", paper="arXiv:1805.04833", where="Sec. 5.4", needs=frozenset({Need.LOGITS}), fidelity="code",
        ours=("k",),
    )  # fmt: skip

    k: Annotated[int, Range(1)] = 50  # tokens; a k beyond the vocabulary keeps all

    def __post_init__(self) -> None:
        check_fields(self)

    def keep(self, logits: Array) -> Array:
        return top_k(logits, self.k)

    def __call__(self, logits: Array) -> Array:
        return truncate(partial(_kept, k=self.k), logits)


def top_k(logits: Array, k: Parameter) -> Array:
    """Return which tokens top-k keeps: boolean, `[batch, vocab]`.

    >>> import numpy as np
    >>> top_k(np.array([[3.0, 1.0, 2.0, 2.0]]), 2).astype(int)
    array([[1, 0, 1, 1]])
    """
    return _kept(logits, k).mask()


def _kept(logits: Array, k: Parameter) -> Kept:
    scores, _ = as_scores(logits, "top-k")
    return Kept(scores, nth_largest(scores, k))
