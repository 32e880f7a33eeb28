"""Keep the tokens whose score lies within a few standard deviations of the best."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from satisfice.core.arrays import Array, cast, namespace
from satisfice.core.card import Card, Need
from satisfice.core.fields import Range, check_fields
from satisfice.methods.sampling._arrays import Parameter, as_scores, at_least, rows
from satisfice.methods.sampling._arrays import total as total_of
from satisfice.methods.sampling._walk import TOLERANCE
from satisfice.methods.sampling.filter import truncate

Sigma = Literal["population", "sample"]


@dataclass(frozen=True, kw_only=True)
class TopNSigma:
    """Keep the tokens whose score lies within a few standard deviations of the best.

        keep i  if  z_i >= z_max - n sigma(z)

    sigma is taken over the scores that are finite and divides by their number, as in llama.cpp. The kept set does not
    change with temperature. Reference code: https://github.com/Tomorrowdawn/top_nsigma (MIT).

    Differs from the authors' code: that divides by one less (`sigma=sample`, which matters for tiny vocabularies only)
    and takes sigma over the whole row, so that where a filter or a mask has put -inf it is NaN and *nothing* is kept;
    here a filter before this one changes its meaning, but never empties a row. Of the authors' two versions the one for
    vLLM cuts a score that is exactly at the border, the one for transformers keeps it, as here. With `sigma=sample`
    the kept sets were held against the latter's on 1,000 random rows.
    """

    card: ClassVar = Card(
        id="top-n-sigma", paper="arXiv:2411.07641", where="Sec. 4", needs=frozenset({Need.LOGITS}), fidelity="paper",
        ours=("sigma",),
    )  # fmt: skip

    n: Annotated[float, Range(0)] = 1.0  # standard deviations; 0.7 is cautious, 1.3 diverse; 0 keeps the best alone
    sigma: Sigma = "population"
    min_tokens_to_keep: Annotated[int, Range(1)] = 1  # at least so many, the likeliest

    def __post_init__(self) -> None:
        check_fields(self)

    def keep(self, logits: Array) -> Array:
        return top_n_sigma(logits, self.n, sigma=self.sigma, min_tokens_to_keep=self.min_tokens_to_keep)

    def __call__(self, logits: Array) -> Array:
        return truncate(self.keep, logits)


def top_n_sigma(
    logits: Array, n: Parameter, *, sigma: Sigma = "population", min_tokens_to_keep: Parameter = 1
) -> Array:
    """Return which tokens top-n-sigma keeps: boolean, `[batch, vocab]`.

    >>> import numpy as np
    >>> row = np.log([[0.45, 0.25, 0.15, 0.08, 0.05, 0.02]])
    >>> top_n_sigma(row, 1).astype(int), top_n_sigma(row, 1, sigma="sample").astype(int)
    (array([[1, 1, 0, 0, 0, 0]]), array([[1, 1, 1, 0, 0, 0]]))
    """
    scores, best = as_scores(logits, "top-n-sigma")
    xp = namespace(scores)
    finite = scores > -xp.inf
    count = cast(xp.sum(finite, axis=-1, keepdims=True), xp.float64)
    below = xp.where(finite, best - scores, 0.0)
    off = xp.where(finite, below - cast(total_of(below) / count, scores.dtype), 0.0)
    variance = total_of(off, off) / xp.clip(count - int(sigma == "sample"), 1, None)
    reach = rows(n, scores) * xp.sqrt(variance) * (1 + TOLERANCE)
    keep = finite & (below <= cast(reach, scores.dtype))
    return at_least(keep, scores, min_tokens_to_keep)
