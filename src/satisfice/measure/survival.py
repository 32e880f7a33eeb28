"""How much longer will a chain think? Survival of chains, with those that the token limit cut as censored.

A chain that a limit ended did not end there by itself: it would have gone on. Leaving such chains out, or counting them
as ended, makes chains look shorter than they are. Survival analysis counts them as at risk until they were cut. The
loss is that of "Ad Creative Discontinuation Prediction with Multi-Modal Multi-Task Neural Survival Networks"
(arXiv:2204.11588), without its advertisements: what a model that predicts the end of a chain should be fitted with.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.errors import BadInput

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Survival:
    """Share of chains that are longer than so many tokens: a step function."""

    tokens: Floats  # [n] where it falls
    share: Floats  # [n] of chains that are longer
    longest: float  # tokens, seen or cut: nothing is known beyond

    def at(self, tokens: float) -> float:
        """Return the share of chains longer than `tokens`."""
        place = int(np.searchsorted(self.tokens, tokens, side="right"))
        return 1.0 if place == 0 else float(self.share[place - 1])

    def remaining(self, tokens: float) -> float | None:
        """Return how many tokens a chain that has thought for `tokens` is expected to go on, up to the longest seen.

            E[min(T, longest) - t | T > t] = int_t^longest S(u) du / S(t)

        A lower bound where chains were cut. None where no chain is that long.
        """
        alive = self.at(tokens)
        if alive <= 0 or tokens >= self.longest:
            return None
        inside = (self.tokens > tokens) & (self.tokens < self.longest)
        ends = np.concatenate([[tokens], self.tokens[inside], [self.longest]])
        heights = np.concatenate([[alive], self.share[inside]])
        return float((np.diff(ends) * heights).sum() / alive)


def survival(length: ArrayLike, cut: ArrayLike) -> Survival:
    """Return the survival of chains: lengths in tokens `[n]`, and whether a limit cut each (Kaplan and Meier).

    >>> found = survival([10, 20, 30, 30], [False, False, True, True])
    >>> found.at(10), found.remaining(10)  # two of three go on for 20 tokens at least, one for 10
    (0.75, 16.666666666666668)

    Raises:
        BadInput: no chains, lists of different lengths, or a length below 0.
    """
    from scipy.stats import CensoredData, ecdf

    tokens, censored = np.asarray(length, dtype=np.float64), np.asarray(cut, dtype=bool)
    if tokens.ndim != 1 or tokens.shape != censored.shape or not len(tokens) or (tokens < 0).any():
        raise BadInput("survival: length and cut must be lists of one length, with at least one chain, none below 0.")
    found = ecdf(CensoredData.right_censored(tokens, censored)).sf
    return Survival(tokens=found.quantiles, share=found.probabilities, longest=float(tokens.max()))


def hazard_loss(hazard: ArrayLike, last: ArrayLike, ended: ArrayLike, weight: ArrayLike = 1.0) -> float:
    """Return minus the log-likelihood of discrete ends under predicted hazards.

        - sum_i w_i [ d_i log h_i,T_i + sum_{t < T_i} log(1 - h_i,t) + (1 - d_i) log(1 - h_i,T_i) ]

    `hazard` is `[n, steps]`, the chance to end in a step after all before it; `last` `[n]` the step of the end or of
    the cut, from 0; `ended` `[n]` whether it ended there by itself. With one hazard for all it is least at the number
    of ends divided by the number of steps at risk.

    >>> round(hazard_loss([[0.5, 0.5, 0.5]], [1], [True]), 4), round(hazard_loss([[0.5, 0.5, 0.5]], [1], [False]), 4)
    (1.3863, 1.3863)
    """
    h = np.clip(np.asarray(hazard, dtype=np.float64), 1e-12, 1 - 1e-12)
    step, event = np.asarray(last), np.asarray(ended, dtype=bool)
    if (
        h.ndim != 2
        or step.shape != (len(h),)
        or event.shape != (len(h),)
        or (step < 0).any()
        or (step >= h.shape[1]).any()
    ):
        raise BadInput("hazard_loss: hazard must be [n, steps], last and ended [n], and last a step from 0.")
    before = np.arange(h.shape[1]) < step[:, None]
    own = h[np.arange(len(h)), step]
    logs = (np.log1p(-h) * before).sum(axis=1) + np.where(event, np.log(own), np.log1p(-own))
    return float(-(np.broadcast_to(np.asarray(weight, dtype=np.float64), logs.shape) * logs).sum())
