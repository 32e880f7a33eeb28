"""Keep the likeliest tokens while their own entropy stays below a share of the whole."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

from satisfice.core.arrays import Array, cast, namespace
from satisfice.core.card import Card, Need
from satisfice.core.fields import Range, check_fields
from satisfice.methods.sampling._arrays import (
    Kept,
    Parameter,
    as_scores,
    at,
    entropy,
    largest,
    masses,
    rows,
    small,
    total,
    up_to,
)
from satisfice.methods.sampling._walk import TOLERANCE, Stop, descend
from satisfice.methods.sampling.filter import truncate

Mode = Literal["paper", "reference", "authors"]
TOP = 100  # tokens that the released codes look at


@dataclass(frozen=True, kw_only=True)
class TopH:
    """Keep the likeliest tokens while their own entropy stays below a share of the whole.

        paper:      keep the longest prefix S of the descending order with  H(q_S) <= alpha H(p),  q_S = p_S / sum p_S
        reference:  the longest with  sum_{i in S} -q_i ln q_i <= alpha sum_{i in top} -q_i ln q_i,  q = p / p(top),
                    top the 100 likeliest tokens
        authors:    the same without renormalising: p in place of q

    The paper bounds the entropy of what is kept; both codes keep a share of the sum of entropy terms among the 100
    likeliest tokens, and differ from one another where much mass lies outside of these. `reference` is transformers'
    `top_h`; `authors` the class released with the paper (https://github.com/ErfanBaghaei/Top-H-Decoding, MIT), from
    which the paper's figures come. On a uniform row of 100 tokens and alpha = 0.4 the paper's algorithm keeps 6 tokens
    and both codes 40. The likeliest token always stays.

    Where the authors' class has no answer (it fails with fewer than 100 tokens, with two rows, and where it comes to
    the 100th token, and terms of probability 0 make it NaN) the mode goes on by the formula. That class takes a
    temperature for the decision and returns scores without it; here scores are what they are. `reference` and `authors`
    were held against both codes on 1,000 random rows.
    """

    card: ClassVar = Card(
        id="top-h", paper="arXiv:2509.02510", where="Alg. 1", needs=frozenset({Need.LOGITS}), fidelity="paper",
        system="top-h",
    )  # fmt: skip

    alpha: Annotated[float, Range(0, 1)] = 0.4  # share of the entropy; 1 keeps all
    mode: Mode = "paper"  # reference: what transformers does; authors: what the code released with the paper does
    min_tokens_to_keep: Annotated[int, Range(1)] = 1  # at least so many, the likeliest

    def __post_init__(self) -> None:
        check_fields(self)

    def keep(self, logits: Array) -> Array:
        return top_h(logits, self.alpha, mode=self.mode, min_tokens_to_keep=self.min_tokens_to_keep)

    def __call__(self, logits: Array) -> Array:
        find = partial(_kept, alpha=self.alpha, mode=self.mode, min_tokens_to_keep=self.min_tokens_to_keep)
        return truncate(find, logits)


def top_h(logits: Array, alpha: Parameter, *, mode: Mode = "paper", min_tokens_to_keep: Parameter = 1) -> Array:
    """Return which tokens top-H keeps: boolean, `[batch, vocab]`.

    >>> import numpy as np
    >>> row = np.log([[0.45, 0.25, 0.15, 0.08, 0.05, 0.02]])
    >>> top_h(row, 0.48).astype(int), top_h(row, 0.48, mode="reference").astype(int)
    (array([[1, 1, 0, 0, 0, 0]]), array([[1, 0, 0, 0, 0, 0]]))
    """
    return _kept(logits, alpha, mode, min_tokens_to_keep).mask()


def _kept(logits: Array, alpha: Parameter, mode: Mode, min_tokens_to_keep: Parameter) -> Kept:
    scores, best = as_scores(logits, "top-h")
    share = rows(alpha, scores) * (1 + TOLERANCE)
    if mode == "paper":
        stop = _bounded(scores, best, share)
    else:
        whole = total(masses(scores, best)[0]) if mode == "authors" else None
        stop = _shared(scores, best, share, whole)
    return up_to(scores, *stop).at_least(min_tokens_to_keep)


def _bounded(scores: Array, best: Array, share: Array) -> Stop:
    """The last kept score and how many equal to it: the entropy of the prefix grows, so its first excess ends it."""
    xp = namespace(scores)
    mass, below = masses(scores, best)
    bound = share * entropy(total(mass), total(mass, below))
    key, count, equal = descend(
        scores, best, mass, lambda mass, spread: entropy(mass, spread) > bound, below=below
    )  # fmt: skip
    return key, xp.where((key > -xp.inf) & ((key < best) | (count > 1)), count - 1, count), equal


def _shared(scores: Array, best: Array, share: Array, whole: Array | None) -> Stop:
    """As `_bounded`, by the share of entropy terms; `whole` is the mass of the row, None that of its likeliest."""
    block, best, share = map(small, (largest(scores, min(TOP, scores.shape[1])), best, share))
    xp = namespace(block)
    depth = xp.minimum(best - block, xp.full_like(best, 800.0))
    mass = xp.exp(-cast(depth, xp.float64))
    over = mass.sum(-1, keepdims=True) if whole is None else small(whole)
    terms = (mass * (depth + xp.log(over))).cumsum(-1)  # of -p ln p, times the mass
    kept = (terms <= share * terms[:, -1:]) & (block > -xp.inf)
    length = kept.sum(-1, keepdims=True)
    key = at(block, xp.maximum(length, xp.ones_like(length)) - 1)
    count = length - (block > key).sum(-1, keepdims=True)
    equal = xp.where(block[:, -1:] < key, (block == key).sum(-1, keepdims=True), scores.shape[1])
    return key, xp.maximum(count, xp.ones_like(count)), equal  # more of them may lie outside of the block
