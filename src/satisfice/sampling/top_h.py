"""Keep the likeliest tokens while their own entropy stays below a share of the whole."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from satisfice.core.card import Card, Need
from satisfice.core.fields import Range, check_fields
from satisfice.sampling._arrays import (
    Array,
    Parameter,
    as_scores,
    at,
    at_least,
    cast,
    entropy,
    largest,
    masses,
    namespace,
    rows,
    total,
)
from satisfice.sampling._walk import TOLERANCE, descend, first
from satisfice.sampling.filter import truncate

Mode = Literal["paper", "reference"]
TOP = 100  # tokens that the released code looks at


@dataclass(frozen=True, kw_only=True)
class TopH:
    """Keep the likeliest tokens while their own entropy stays below a share of the whole.

        paper:      keep the longest prefix S of the descending order with  H(q_S) <= alpha H(p),  q_S = p_S / sum p_S
        reference:  within the 100 likeliest, the longest with  sum_{i in S} -p_i ln p_i <= alpha sum -p_i ln p_i

    The paper's algorithm and the code released with it (which is also transformers' `top_h`) differ: on a uniform row
    of 100 tokens and alpha = 0.4 the first keeps 6 tokens and the second 40. The paper's figures come from the code.
    The likeliest token always stays.
    """

    card: ClassVar = Card(
        id="top-h", paper="arXiv:2509.02510", where="Alg. 1", needs=frozenset({Need.LOGITS}), fidelity="paper",
        system="top-h",
    )  # fmt: skip

    alpha: Annotated[float, Range(0, 1)] = 0.4  # share of the entropy; 1 keeps all
    mode: Mode = "paper"  # reference: what the released code does
    min_tokens_to_keep: Annotated[int, Range(1)] = 1  # at least so many, the likeliest

    def __post_init__(self) -> None:
        check_fields(self)

    def keep(self, logits: Array) -> Array:
        return top_h(logits, self.alpha, mode=self.mode, min_tokens_to_keep=self.min_tokens_to_keep)

    def __call__(self, logits: Array) -> Array:
        return truncate(self, logits)


def top_h(logits: Array, alpha: Parameter, *, mode: Mode = "paper", min_tokens_to_keep: Parameter = 1) -> Array:
    """Which tokens top-H keeps: boolean, `[batch, vocab]`.

    >>> import numpy as np
    >>> row = np.log([[0.45, 0.25, 0.15, 0.08, 0.05, 0.02]])
    >>> top_h(row, 0.48).astype(int), top_h(row, 0.48, mode="reference").astype(int)
    (array([[1, 1, 0, 0, 0, 0]]), array([[1, 0, 0, 0, 0, 0]]))
    """
    scores, best = as_scores(logits, "top-h")
    bounded = _bounded if mode == "paper" else _shared
    key, count = bounded(scores, best, rows(alpha, scores) * (1 + TOLERANCE))
    return at_least(first(scores, key, count), scores, min_tokens_to_keep)


def _bounded(scores: Array, best: Array, share: Array) -> tuple[Array, Array]:
    """The last kept score and how many equal to it: the entropy of the prefix grows, so its first excess ends it."""
    xp = namespace(scores)
    mass, below = masses(scores, best)
    spread = mass * below
    bound = share * entropy(total(mass), total(spread))
    key, count = descend(scores, best, (mass, spread), lambda mass, spread: entropy(mass, spread) > bound)
    return key, xp.where((key > -xp.inf) & ((key < best) | (count > 1)), count - 1, count)


def _shared(scores: Array, best: Array, share: Array) -> tuple[Array, Array]:
    xp = namespace(scores)
    block = largest(scores, min(TOP, scores.shape[1]))
    mass, depth = masses(cast(block, xp.float64), cast(best, xp.float64))
    whole = xp.sum(mass, axis=-1, keepdims=True)
    terms = xp.cumsum(mass / whole * (depth + xp.log(whole)), axis=-1)
    kept = (terms <= share * terms[:, -1:]) & (block > -xp.inf)
    length = xp.clip(xp.sum(kept, axis=-1, keepdims=True), 1, None)
    key, below = at(block, length - 1), at(block, xp.clip(length, None, block.shape[1] - 1))
    count = length - xp.sum(block > key, axis=-1, keepdims=True)
    return xp.where(below < key, below, key), xp.where(below < key, 0, count)  # all above the next one: one pass
