"""Keep the tokens above a fixed probability."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.arrays import Array, cast, namespace
from satisfice.core.card import Card, Need
from satisfice.core.fields import Range, check_fields
from satisfice.methods.sampling._arrays import Parameter, as_scores, at_least, rows, softmax
from satisfice.methods.sampling.filter import truncate


@dataclass(frozen=True, kw_only=True)
class Epsilon:
    """Keep the tokens above a fixed probability.

        keep i  if  p_i >= epsilon

    If none is, the likeliest token stays and those that tie with it, as in transformers; the authors' code keeps one.
    """

    card: ClassVar = Card(
        id="epsilon", paper="arXiv:2210.15191", where="Sec. 4", needs=frozenset({Need.LOGITS}), fidelity="code",
        ours=("epsilon",),
    )  # fmt: skip

    epsilon: Annotated[float, Range(0, 1)] = 6e-4  # probability; the paper's range is 3e-4 to 9e-4; 0 keeps all
    min_tokens_to_keep: Annotated[int, Range(1)] = 1  # at least so many, the likeliest

    def __post_init__(self) -> None:
        check_fields(self)

    def keep(self, logits: Array) -> Array:
        return epsilon(logits, self.epsilon, min_tokens_to_keep=self.min_tokens_to_keep)

    def __call__(self, logits: Array) -> Array:
        return truncate(self.keep, logits)


def epsilon(logits: Array, epsilon: Parameter, *, min_tokens_to_keep: Parameter = 1) -> Array:
    """Return which tokens epsilon sampling keeps: boolean, `[batch, vocab]`.

    >>> import numpy as np
    >>> epsilon(np.log([[0.45, 0.25, 0.15, 0.08, 0.05, 0.02]]), 0.06).astype(int)
    array([[1, 1, 1, 1, 0, 0]])
    """
    scores, best = as_scores(logits, "epsilon")
    p = softmax(scores, best)
    keep = above(p, cast(rows(epsilon, scores), p.dtype), scores)
    return at_least(keep, scores, min_tokens_to_keep)


def above(mass: Array, floor: Array, scores: Array) -> Array:
    """Return tokens whose mass is at least `floor` `[batch, 1]`, and the likeliest; in one pass where no floor is 0."""
    xp = namespace(mass)
    keep = mass >= xp.minimum(floor, xp.amax(mass, axis=-1, keepdims=True))
    return keep if bool((floor > 0).all()) else keep & (scores > -float("inf"))
