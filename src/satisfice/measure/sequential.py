"""Intervals that hold at all times: look after every problem, stop when you like, and they are still true.

The intervals of `intervals` hold for a number of problems that was fixed beforehand. Who looks now and then and stops
when he likes what he sees needs others. For means of bounded numbers (differences in accuracy) they come from betting
(Waudby-Smith and Ramdas, arXiv:2010.09686): a gambler against "the mean is at most m" bets a share f of what he can

    K_n(m) = mean over f of  prod_i (1 - f + f (x_i - least) / (m - least))

and, while that is true, ever owns 1 / doubt times his stake with chance at most `doubt`. The mean is above every m that
made him so rich. Averaging over many shares makes K depend on what was seen and not on its order. For a ratio of sums
of unbounded numbers (savings) the interval is the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha,
Kennedy and Ramdas (arXiv:2103.06476) for the mean of (1 - saving) theirs - ours, solved for the saving (Fieller): it
holds at all times in the limit, as the bootstrap holds for a fixed number in the limit.
"""

import math

import numpy as np
from numpy.typing import NDArray

from satisfice.measure.intervals import LEVEL, Estimate, Floats

SHARES = np.sin(np.pi * (np.arange(32) + 0.5) / 64) ** 2
"""Shares of the largest possible bet, dense near 0 (small differences) and near 1 (none at all)."""

TYPICAL = 200  # problems at which the interval of a saving is narrowest, compared with others of its kind


def wealth(values: Floats, m: float, least: float) -> float:
    """Return the log of what a gambler against "the mean is at most m" owns, `values` `[n]` being at least `least`.

    >>> round(math.exp(wealth(np.zeros(300), -0.02, -1)), 1)  # 300 problems without a difference, against a loss of 2 %
    104.0
    """
    return _log_wealth(*np.unique(values, return_counts=True), m, least)


def _log_wealth(found: Floats, counts: NDArray[np.int64], m: float, least: float) -> float:
    """Return the log of the wealth for different values `[k]` and how often each was seen `[k]`."""
    gains = (found - least) / (m - least)
    logs = counts @ np.log(np.maximum(1 - SHARES + SHARES * gains[:, None], 1e-300))
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def always_bounded_mean(above: Floats, below: Floats, least: float, most: float) -> Estimate:
    """Return sum(above) / sum(below) with bounds that hold at all times; the arguments of `intervals.bounded_mean`.

    A question counts once, whatever the number of its answers.

    >>> found = always_bounded_mean(np.zeros(300), np.ones(300), -1, 1)
    >>> found.value, round(found.low, 4), round(found.high, 4)
    (0.0, -0.0165, 0.0165)
    """
    there = below > 0
    if not there.any():
        return Estimate(value=None)
    values = above[there] / below[there]
    low = _bound(values, least, most)
    return Estimate(value=float(above[there].sum() / below[there].sum()), low=low, high=-_bound(-values, -most, -least))


def _bound(values: Floats, least: float, most: float) -> float:
    """Return the largest m that "the mean is at most m" is refuted for, by bisection: the wealth falls in m."""
    found, counts = np.unique(values, return_counts=True)
    enough = math.log(2 / (1 - LEVEL))
    low, high = least, most
    for _ in range(40):
        middle = (low + high) / 2
        if _log_wealth(found, counts, middle, least) >= enough:
            low = middle
        else:
            high = middle
    return low


def width(problems: int) -> float:
    """Return the half width of the asymptotic confidence sequence of a mean, in standard deviations.

        sqrt( 2 (n rho^2 + 1) / (n^2 rho^2) log(sqrt(n rho^2 + 1) / doubt) )            (arXiv:2103.06476, Thm. 2.2)

    >>> round(width(200), 3), round(width(2000), 3)
    (0.215, 0.072)
    """
    doubt = 1 - LEVEL
    rho2 = (-2 * math.log(doubt) + math.log(1 - 2 * math.log(doubt))) / TYPICAL
    n = problems * rho2 + 1
    return math.sqrt(2 * n / (problems**2 * rho2) * math.log(math.sqrt(n) / doubt))


def always_ratio(above: Floats, below: Floats) -> Estimate:
    """Return sum(above) / sum(below) over questions, both `[questions]`, with bounds that hold at all times."""
    there = below > 0
    ours, theirs = above[there], below[there]
    if not len(ours):
        return Estimate(value=None)
    value = float(ours.sum() / theirs.sum())
    if len(ours) < 2:
        return Estimate(value=value)
    # All r with |r mean(theirs) - mean(ours)| <= w sd(r theirs - ours): a quadratic in r.
    w2 = width(len(ours)) ** 2
    cov = np.cov(ours, theirs)
    a = theirs.mean() ** 2 - w2 * cov[1, 1]
    b = ours.mean() * theirs.mean() - w2 * cov[0, 1]
    c = ours.mean() ** 2 - w2 * cov[0, 0]
    if a <= 0:  # so few problems that the baseline might spend nothing
        return Estimate(value=value)
    root = math.sqrt(max(b * b - a * c, 0.0))
    return Estimate(value=value, low=float((b - root) / a), high=float((b + root) / a))


def problems_needed(margin: float, *, differ: float = 0.0, change: float = 0.0, limit: int = 100_000) -> int:
    """Return about how many problems it takes until a loss beyond the margin is excluded at all times.

    `differ` is the share of problems on which exactly one of the two is right, `change` the difference in accuracy.
    Computed on the expected counts, so half of all comparisons take longer; `limit` where none so short is enough.

    >>> problems_needed(0.02), problems_needed(0.02, differ=0.02), problems_needed(0.02, differ=0.02, change=-0.01)
    (248, 668, 2646)
    """
    gained, lost = max((differ + change) / 2, 0.0), max((differ - change) / 2, 0.0)
    share = np.array([1 - gained - lost, gained, lost])
    gains = (np.array([0.0, 1.0, -1.0]) + 1) / (1 - margin)
    growth = share @ np.log(np.maximum(1 - SHARES + SHARES * gains[:, None], 1e-300))
    enough = math.log(2 / (1 - LEVEL))

    def rich(n: int) -> bool:
        logs = n * growth
        return float(logs.max() + math.log(np.exp(logs - logs.max()).mean())) >= enough

    low, high = 1, limit
    if not rich(limit):
        return limit
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if rich(middle) else (middle + 1, high)
    return low
