"""How sure a model is while it writes: DeepConf's confidence of tokens, and of the windows of a chain."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.engine import Sampled

Floats = NDArray[np.float64]


def token_confidence(top_logprobs: ArrayLike) -> Floats:
    """C_i = -(1/k) sum_j log p_(j) over the k likeliest tokens at each position; higher where one token is likely.

    `top_logprobs` is `[n, k]` in nats; a place that is -inf is a token that the model does not have. Shape `[n]`.

    >>> token_confidence(np.log([[0.9, 0.06], [0.6, 0.3], [0.4, 0.35], [0.95, 0.03]])).round(4).tolist()
    [1.4594, 0.8574, 0.9831, 1.7789]
    """
    values = np.asarray(top_logprobs, dtype=np.float64)
    there = np.isfinite(values)
    total = -np.where(there, values, 0.0).sum(axis=-1)
    return np.asarray(total / np.maximum(1, there.sum(axis=-1)))


def window_means(values: ArrayLike, window: int) -> Floats:
    """The mean of every `window` neighbouring values, shape `[n - window + 1]`; of all of them where there are fewer.

    >>> window_means([1.4594, 0.8574, 0.9831, 1.7789], 2).round(4).tolist()
    [1.1584, 0.9202, 1.381]
    """
    column = np.asarray(values, dtype=np.float64)
    if not column.size:
        return column
    width = min(window, column.size)
    sums = np.concatenate([[0.0], column.cumsum()])
    return np.asarray((sums[width:] - sums[:-width]) / width)


class Gauge:
    """Hears what a tapped chain samples and keeps the confidence of each token."""

    def __init__(self, top: int) -> None:
        self.top = top
        self.values = np.zeros(0)

    def __call__(self, got: Sampled) -> None:
        if got.top_logprobs is not None:
            self.values = np.concatenate([self.values, token_confidence(got.top_logprobs[:, : self.top])])

    @property
    def mean(self) -> float:
        """Mean confidence of all tokens so far; 0 before the first."""
        return float(self.values.mean()) if self.values.size else 0.0
