"""Keep the tokens whose surprise is closest to the surprise that is expected."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.arrays import Array, cast, namespace
from satisfice.core.card import Card, Need
from satisfice.core.fields import Range, check_fields
from satisfice.methods.sampling._arrays import Parameter, as_scores, at_least, entropy, masses, reach, rows
from satisfice.methods.sampling._arrays import total as total_of
from satisfice.methods.sampling._walk import TOLERANCE, walk
from satisfice.methods.sampling.filter import truncate


@dataclass(frozen=True, kw_only=True)
class Typical:
    """Keep the tokens whose surprise is closest to the surprise that is expected (locally typical sampling).

        d_i = |-ln p_i - H|,  H the entropy in nats
        keep the shortest prefix S of the ascending order of d with  sum_{i in S} p_i >= tau,  and all that tie with it

    The only filter here that can drop the likeliest token. `min_tokens_to_keep` are the most typical, not the
    likeliest.
    """

    card: ClassVar = Card(
        id="typical", paper="arXiv:2202.00666", where="Sec. 4", needs=frozenset({Need.LOGITS}), fidelity="code",
        ours=("tau",),
    )  # fmt: skip

    tau: Annotated[float, Range(0, 1)] = 0.9  # mass; the paper tries 0.2, 0.9, 0.92, 0.95; 1 keeps all
    min_tokens_to_keep: Annotated[int, Range(1)] = 1  # at least so many, the most typical

    def __post_init__(self) -> None:
        check_fields(self)

    def keep(self, logits: Array) -> Array:
        return typical(logits, self.tau, min_tokens_to_keep=self.min_tokens_to_keep)

    def __call__(self, logits: Array) -> Array:
        return truncate(self.keep, logits)


def typical(logits: Array, tau: Parameter, *, min_tokens_to_keep: Parameter = 1) -> Array:
    """Return which tokens locally typical sampling keeps: boolean, `[batch, vocab]`.

    >>> import numpy as np
    >>> typical(np.log([[0.45, 0.25, 0.15, 0.08, 0.05, 0.02]]), 0.2).astype(int)
    array([[0, 1, 0, 0, 0, 0]])
    """
    scores, best = as_scores(logits, "typical")
    xp = namespace(scores)
    mass, below = masses(scores, best)
    whole = total_of(mass)
    # -ln p - H = (z_max - z + ln sum e) - H, and the logarithm is a part of H too
    mean = entropy(whole, total_of(mass, below)) - xp.log(whole)
    keys = -xp.abs(best - scores - cast(mean, scores.dtype))
    share = rows(tau, scores)
    goal = xp.where(share < 1, share * (1 - TOLERANCE), xp.inf) * whole
    key, _, _ = walk(keys, (mass,), lambda got: got >= goal)
    return at_least(reach(keys, key), keys, min_tokens_to_keep)
