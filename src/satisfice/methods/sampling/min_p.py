"""Keep the tokens that are not much less likely than the likeliest one."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from satisfice.core.arrays import Array, cast
from satisfice.core.card import Card, Need
from satisfice.core.fields import Range, check_fields
from satisfice.methods.sampling._arrays import Kept, Parameter, as_scores, log, rows
from satisfice.methods.sampling.filter import truncate


@dataclass(frozen=True, kw_only=True)
class MinP:
    """Keep the tokens that are not much less likely than the likeliest one.

        keep i  if  p_i >= b p_max,    that is  z_i >= z_max + ln b

    The scores are compared, not the probabilities, so that nothing underflows and no softmax is needed. Base b after
    temperature T is base b^T before it. That min-p beats other filters is disputed: arXiv:2506.13681 finds them about
    equal once each is tuned.
    """

    card: ClassVar = Card(
        id="min-p", paper="arXiv:2407.01082", where="Sec. 3", needs=frozenset({Need.LOGITS}), fidelity="code",
        system="min-p",
    )  # fmt: skip

    p: Annotated[float, Range(0, 1)] = 0.1  # the base b, a share of the largest probability; 0 keeps all
    min_tokens_to_keep: Annotated[int, Range(1)] = 1  # at least so many, the likeliest

    def __post_init__(self) -> None:
        check_fields(self)

    def keep(self, logits: Array) -> Array:
        return min_p(logits, self.p, min_tokens_to_keep=self.min_tokens_to_keep)

    def __call__(self, logits: Array) -> Array:
        return truncate(partial(_kept, p=self.p, min_tokens_to_keep=self.min_tokens_to_keep), logits)


def min_p(logits: Array, p: Parameter, *, min_tokens_to_keep: Parameter = 1) -> Array:
    """Return which tokens min-p keeps: boolean, `[batch, vocab]`.

    >>> import numpy as np
    >>> min_p(np.log([[0.45, 0.25, 0.15, 0.08, 0.05, 0.02]]), 0.2).astype(int)
    array([[1, 1, 1, 0, 0, 0]])
    """
    return _kept(logits, p, min_tokens_to_keep).mask()


def _kept(logits: Array, p: Parameter, min_tokens_to_keep: Parameter) -> Kept:
    scores, best = as_scores(logits, "min-p")
    return Kept(scores, best + cast(log(rows(p, scores)), scores.dtype)).at_least(min_tokens_to_keep)
