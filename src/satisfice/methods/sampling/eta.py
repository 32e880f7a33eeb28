"""Keep the tokens above a probability that falls where the distribution is flat."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.arrays import Array, cast, namespace
from satisfice.core.card import Card, Need
from satisfice.core.fields import Range, check_fields
from satisfice.methods.sampling._arrays import Parameter, as_scores, at_least, entropy, masses, rows
from satisfice.methods.sampling._arrays import total as total_of
from satisfice.methods.sampling.epsilon import above
from satisfice.methods.sampling.filter import truncate


@dataclass(frozen=True, kw_only=True)
class Eta:
    """Keep the tokens above a probability that falls where the distribution is flat.

        keep i  if  p_i >= eta,    eta = min(epsilon, sqrt(epsilon) exp(-H)),  H in nats

    This is the authors' code; a docstring elsewhere writes sqrt(epsilon exp(-H)). The paper's general form has a free
    alpha in place of sqrt(epsilon). At the same epsilon it keeps at least what `epsilon` keeps. The likeliest token
    always stays, with those that tie with it.
    """

    card: ClassVar = Card(
        id="eta", paper="arXiv:2210.15191", where="Sec. 4", needs=frozenset({Need.LOGITS}), fidelity="code",
        system="eta-sampling", ours=("epsilon",),
    )  # fmt: skip

    epsilon: Annotated[float, Range(0, 1)] = 6e-4  # probability; the paper's grid is 3e-4 to 4e-3; 0 keeps all
    min_tokens_to_keep: Annotated[int, Range(1)] = 1  # at least so many, the likeliest

    def __post_init__(self) -> None:
        check_fields(self)

    def keep(self, logits: Array) -> Array:
        return eta(logits, self.epsilon, min_tokens_to_keep=self.min_tokens_to_keep)

    def __call__(self, logits: Array) -> Array:
        return truncate(self.keep, logits)


def eta(logits: Array, epsilon: Parameter, *, min_tokens_to_keep: Parameter = 1) -> Array:
    """Return which tokens eta sampling keeps: boolean, `[batch, vocab]`.

    >>> import numpy as np
    >>> eta(np.log([[0.45, 0.25, 0.15, 0.08, 0.05, 0.02]]), 0.1).astype(int)
    array([[1, 1, 1, 1, 0, 0]])
    """
    scores, best = as_scores(logits, "eta")
    mass, below = masses(scores, best)
    whole = total_of(mass)
    floor = eta_floor(rows(epsilon, scores), entropy(whole, total_of(mass, below)))
    return at_least(above(mass, cast(floor * whole, mass.dtype), scores), scores, min_tokens_to_keep)


def eta_floor(epsilon: Array, entropy: Array) -> Array:
    """Return the probability below which eta sampling cuts: `min(epsilon, sqrt(epsilon) exp(-H))`, elementwise."""
    xp = namespace(entropy)
    return xp.minimum(epsilon, xp.sqrt(epsilon) * xp.exp(-entropy))
