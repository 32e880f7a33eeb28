"""Keep the fewest likeliest tokens that hold a given share of the probability."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from satisfice.core.arrays import Array, namespace
from satisfice.core.card import Card, Need
from satisfice.core.fields import Range, check_fields
from satisfice.methods.sampling._arrays import Kept, Parameter, as_scores, rows, total, up_to
from satisfice.methods.sampling._walk import TOLERANCE, descend
from satisfice.methods.sampling.filter import truncate


@dataclass(frozen=True, kw_only=True)
class TopP:
    """Keep the fewest likeliest tokens that hold a given share of the probability (nucleus sampling).

        keep the shortest prefix S of the descending order with  sum_{i in S} p_i >= p

    A mass that float32 cannot tell from p counts as reached. Among tokens that tie at the end of the prefix those with
    the lowest ids are kept; transformers leaves that to its sort. On a peaked row it may keep a single token however
    plausible the next ones are.
    """

    card: ClassVar = Card(
        id="top-p", paper="arXiv:1904.09751", where="Sec. 3.1", needs=frozenset({Need.LOGITS}), fidelity="code",
        ours=("p",),
    )  # fmt: skip

    p: Annotated[float, Range(0, 1)] = 0.95  # mass; 1 keeps all, 0 the likeliest token
    min_tokens_to_keep: Annotated[int, Range(1)] = 1  # at least so many, the likeliest

    def __post_init__(self) -> None:
        check_fields(self)

    def keep(self, logits: Array) -> Array:
        return top_p(logits, self.p, min_tokens_to_keep=self.min_tokens_to_keep)

    def __call__(self, logits: Array) -> Array:
        return truncate(partial(_kept, p=self.p, min_tokens_to_keep=self.min_tokens_to_keep), logits)


def top_p(logits: Array, p: Parameter, *, min_tokens_to_keep: Parameter = 1) -> Array:
    """Return which tokens top-p keeps: boolean, `[batch, vocab]`.

    >>> import numpy as np
    >>> top_p(np.log([[0.45, 0.25, 0.15, 0.08, 0.05, 0.02]]), 0.9).astype(int)
    array([[1, 1, 1, 1, 0, 0]])
    """
    return _kept(logits, p, min_tokens_to_keep).mask()


def _kept(logits: Array, p: Parameter, min_tokens_to_keep: Parameter) -> Kept:
    scores, best = as_scores(logits, "top-p")
    xp = namespace(scores)
    share = rows(p, scores)
    mass = xp.exp(scores - best)
    goal = xp.where(share < 1, share * (1 - TOLERANCE), xp.inf) * total(mass)
    stop = descend(scores, best, mass, lambda mass: mass >= goal)
    return up_to(scores, *stop).at_least(min_tokens_to_keep)
