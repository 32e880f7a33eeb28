"""Whether a promise still holds, looked at after every comparison, for as long as one likes.

A promise says that a share is at most `most`. Comparisons come one by one; each says whether something was lost. The
evidence against the promise is what a gambler would own who began with 1 and bet on losses at fair odds for a share of
exactly `most`:

    E_n = mean over bets b of  (1 + b (1 - most))^k (1 - b most)^(n - k),    0 < b < 1 / most

for k losses among n comparisons. While the promise holds, E is a non-negative supermartingale that begins at 1, so it
ever reaches 1 / doubt with chance at most `doubt`, however often one looks (Ville's inequality; betting as in
Waudby-Smith and Ramdas, arXiv:2010.09686). It assumes that each comparison, whatever came before, is lost with a chance
of at most `most`: comparisons chosen at random from the traffic are.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.errors import BadInput

BETS = np.geomspace(0.01, 0.9, 40)
"""Shares of the largest possible bet, 1 / most; small ones find small excesses, large ones find large ones quickly."""


def evidence(lost: ArrayLike, compared: ArrayLike, most: float) -> Any:
    """Return the evidence against a share of at most `most`, from counts; 1 before anything was compared.

    Of arrays of counts an array comes out.

    >>> evidence(0, 100, 0.02).round(2).item(), evidence(10, 100, 0.02).round().item()
    (0.05, 978.0)
    """
    bets = BETS / most
    some = np.asarray(lost, dtype=np.float64)[..., None]
    kept = np.asarray(compared, dtype=np.float64)[..., None] - some
    logs = some * np.log1p(bets * (1 - most)) + kept * np.log1p(-bets * most)
    return np.exp(np.minimum(logs, 700.0)).mean(axis=-1)


def lower_bound(lost: int, compared: int, doubt: float = 0.05) -> float:
    """Return a share that the true one is above, at all times together with confidence 1 - `doubt`; 0 when none is.

    >>> lower_bound(0, 1000), round(lower_bound(40, 1000), 3)
    (0.0, 0.024)
    """
    low, high = 0.0, lost / compared if compared else 0.0
    if not lost or evidence(lost, compared, 1e-6) < 1 / doubt:
        return 0.0
    for _ in range(50):
        middle = (low + high) / 2
        if middle <= 0 or evidence(lost, compared, middle) >= 1 / doubt:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """The state of one promise under watch: JSON-able, advanced by `seen`.

    >>> watched = Monitor(most=0.02)
    >>> for lost in [False] * 50 + [True] * 6:
    ...     watched = watched.seen(lost)
    >>> watched.broken, watched.compared, watched.lost
    (True, 56, 6)
    """

    most: float
    doubt: float = 0.05  # chance of a false alarm, over the whole life
    compared: int = 0
    lost: int = 0
    peak: float = 1.0  # the largest evidence so far

    def __post_init__(self) -> None:
        for name, value in (("most", self.most), ("doubt", self.doubt)):
            if not 0 < value < 1:
                raise BadInput(f"Monitor: {name} must lie between 0 and 1, got {value}.")

    def seen(self, lost: bool) -> "Monitor":
        """Return the state after one more comparison."""
        compared, total = self.compared + 1, self.lost + bool(lost)
        peak = (
            max(self.peak, float(evidence(total, compared, self.most))) if lost else self.peak
        )  # it rises by losses alone
        return replace(self, compared=compared, lost=total, peak=peak)

    @property
    def broken(self) -> bool:
        """Whether the promise no longer holds, with confidence 1 - `doubt`. Once true it stays so."""
        return self.peak >= 1 / self.doubt

    def __str__(self) -> str:
        share = f"{self.lost} of {self.compared} lost"
        if self.broken:
            low = lower_bound(self.lost, self.compared, self.doubt)
            return f"broken: {share}, more than {max(low, self.most):.1%} where {self.most:.1%} was promised"
        return f"holds so far: {share}, at most {self.most:.1%} was promised"


PLANNED = 1000  # comparisons at which the interval of a saving is narrowest


@dataclass(frozen=True, kw_only=True)
class SavingWatch:
    """The share of tokens saved, with an interval that one may look at after every request: JSON-able.

    Each request says what it cost in full, a, and under the rule, b. Where only one of them was done, with a chance c
    of the full one, `alone` counts a / c or b / (1 - c), which leaves the means what they are (Horvitz and Thompson).
    With z = (1 - s) a - b the saving is at least s iff E[z] >= 0, and the interval holds every s with

        |mean z| <= sd z * sqrt( 2 (n r^2 + 1) / (n^2 r^2) * ln( sqrt(n r^2 + 1) / doubt ) )

    (an asymptotic confidence sequence, Waudby-Smith et al., arXiv:2103.06476, Thm 2.2: it holds at all times together,
    as n grows, where costs have a variance). Costs are tokens.

    >>> watch = SavingWatch()
    >>> for n in range(200):
    ...     watch = watch.pair(100 + n % 7, 40 + n % 5)
    >>> [round(end, 2) for end in watch.interval()]
    [0.59, 0.6]
    """

    n: int = 0
    full: float = 0.0
    ruled: float = 0.0
    full_full: float = 0.0
    ruled_ruled: float = 0.0
    full_ruled: float = 0.0

    def pair(self, full: float, ruled: float) -> "SavingWatch":
        """Return the state after a request that was done both ways."""
        return SavingWatch(
            n=self.n + 1, full=self.full + full, ruled=self.ruled + ruled, full_full=self.full_full + full**2,
            ruled_ruled=self.ruled_ruled + ruled**2, full_ruled=self.full_ruled + full * ruled,
        )  # fmt: skip

    def alone(self, cost: float, *, is_full: bool, share: float) -> "SavingWatch":
        """Return the state after a request that was done one way; with a chance of `share` it was the full one."""
        return self.pair(cost / share, 0.0) if is_full else self.pair(0.0, cost / (1 - share))

    @property
    def saving(self) -> float:
        """The share of tokens saved so far; 0 before anything was seen."""
        return 1 - self.ruled / self.full if self.full else 0.0

    def excludes(self, saving: float, doubt: float = 0.05) -> bool:
        """Return whether a saving is outside the interval."""
        if self.n < 2:
            return False
        left = 1 - saving
        mean = (left * self.full - self.ruled) / self.n
        square = (left**2 * self.full_full - 2 * left * self.full_ruled + self.ruled_ruled) / self.n
        tuned = (-2 * np.log(doubt) + np.log(1 - 2 * np.log(doubt))) / PLANNED  # r^2, narrowest at PLANNED
        grown = self.n * tuned + 1
        width = max(square - mean**2, 0.0) * 2 * grown / (self.n**2 * tuned) * np.log(np.sqrt(grown) / doubt)
        return bool(mean**2 > width)

    def interval(self, doubt: float = 0.05) -> tuple[float, float]:
        """Return the least and the greatest saving that the requests do not speak against; none: minus infinity, 1."""
        ends = []
        for sign in (-1.0, 1.0):
            inside, outside = self.saving, self.saving + sign
            while not self.excludes(outside, doubt) and abs(outside) < 1e6:
                outside += sign * (abs(outside - inside) + 1)
            if not self.excludes(outside, doubt):
                ends.append(sign * np.inf)
                continue
            for _ in range(60):
                middle = (inside + outside) / 2
                inside, outside = (inside, middle) if self.excludes(middle, doubt) else (middle, outside)
            ends.append(inside)
        return float(ends[0]), float(min(ends[1], 1.0))
