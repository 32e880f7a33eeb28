"""Intervals: an exact one for means that have a least and a greatest value, and a bootstrap for those that have not.

Accuracies and their differences are means of bounded numbers, one per question (several seeds of a question make one
number). Their bounds are Gaffke's (2005; Learned-Miller and Thomas, arXiv:1905.06208): draw weights of the questions
from a flat Dirichlet distribution with one question added that has the worst possible value, and take the quantile of
the weighted means. With one right or wrong answer per question these are Clopper and Pearson's exact bounds; when
nothing differs they still have a width. A saving is a ratio of token counts, which have no greatest value: bootstrap.
See docs/design/0011-intervals-and-verdicts.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, bootstrap

Floats = NDArray[np.float64]

LEVEL = 0.95
DRAWS = 20_000  # of weights, for one interval
RESAMPLES = 10_000  # of questions, for one interval
CELLS = 2_000_000  # numbers drawn at once


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval; None where there is nothing to estimate from."""

    value: float | None
    low: float | None = None
    high: float | None = None


def bounded_mean(above: Floats, below: Floats, least: float, most: float) -> Estimate:
    """Return sum(above) / sum(below) with exact bounds; every above / below lies between `least` and `most`.

    Both are [questions]: `below` is how many answers a question has, one without any is left out.

    >>> found = bounded_mean(np.zeros(200), np.ones(200), -1, 1)  # 200 questions on which two policies agree
    >>> found.value, round(found.low, 4), round(found.high, 4)
    (0.0, -0.0183, 0.0183)
    """
    sums = np.stack([above, below], axis=-1)[below > 0]
    if not len(sums):
        return Estimate(value=None)
    total = sums.sum(axis=0)
    value = float(total[0] / total[1])
    tail = (1 - LEVEL) / 2
    if (two := _two_valued(sums, least, tail)) is not None and (other := _two_valued(sums, most, 1 - tail)) is not None:
        return Estimate(value=value, low=two, high=other)
    mean = total[1] / len(sums)
    low, high = weighted_bounds(
        sums, lambda s: s[..., 0] / s[..., 1], worst=np.array([least * mean, mean]), best=np.array([most * mean, mean])
    )
    return Estimate(value=value, low=min(low, value), high=max(high, value))


def _two_valued(sums: Floats, added: float, tail: float) -> float | None:
    """Return the bound in closed form where questions and the added one have at most two values; else None."""
    if np.ptp(sums[:, 1]) > 0:
        return None
    values = np.append(sums[:, 0] / sums[:, 1], added)
    low, high = float(values.min()), float(values.max())
    highs = int((values == high).sum())
    if low == high:
        return low
    if highs + int((values == low).sum()) < len(values):
        return None
    return low + (high - low) * float(beta.ppf(tail, highs, len(values) - highs))


def weighted_bounds(
    sums: Floats, statistic: Callable[[Floats], Floats], *, worst: Floats, best: Floats
) -> tuple[float, float]:
    """Return both bounds of a statistic of column sums: rows under random weights, and one added row.

    `sums` is [questions, columns]; `worst` and `best` are the rows that are added for the lower and the upper bound.
    `statistic` takes [draws, columns] to [draws] and does not change when its columns are scaled together.
    """
    rows, counts = np.unique(sums, axis=0, return_counts=True)  # equal rows share one weight: a sum of theirs
    rng = np.random.default_rng(0)
    lows, highs = [], []
    batch = max(1, min(DRAWS, CELLS // len(rows)))
    draws = DRAWS if len(rows) < 500 else DRAWS // 4
    for begin in range(0, draws, batch):
        size = min(batch, draws - begin)
        total = rng.standard_gamma(counts, size=(size, len(rows))) @ rows
        added = rng.standard_exponential((size, 1))
        lows.append(statistic(total + added * worst))
        highs.append(statistic(total + added * best))
    tail = (1 - LEVEL) / 2
    return float(np.quantile(np.concatenate(lows), tail)), float(np.quantile(np.concatenate(highs), 1 - tail))


def bootstrapped_ratio(above: Floats, below: Floats) -> Estimate:
    """Return sum(above) / sum(below) over questions, both [questions], with a percentile interval of a bootstrap."""
    sums = np.stack([above, below], axis=-1)[below > 0]
    if not len(sums):
        return Estimate(value=None)
    total = sums.sum(axis=0)
    value, size = float(total[0] / total[1]), len(sums)
    if size < 2:
        return Estimate(value=value)

    def of_resample(rows: NDArray[np.int64], axis: int = -1) -> Floats:
        # A resample is how often each question is drawn: counts times columns gives all sums in one matrix product.
        flat = rows.reshape(-1, size) + size * np.arange(rows.size // size)[:, None]
        counts = np.bincount(flat.ravel(), minlength=flat.size).reshape(flat.shape)
        found = (counts @ sums).reshape(*rows.shape[:-1], 2)
        return np.asarray(found[..., 0] / found[..., 1])

    found = bootstrap(
        (np.arange(size),), of_resample, n_resamples=RESAMPLES, batch=100, vectorized=True, axis=-1,
        confidence_level=LEVEL, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return Estimate(value=value, low=float(found.low), high=float(found.high))
