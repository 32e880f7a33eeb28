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

import math
from dataclasses import dataclass, replace

import numpy as np

from satisfice.core.errors import BadInput

BETS = np.geomspace(0.01, 0.9, 40)
"""Shares of the largest possible bet, 1 / most; small ones find small excesses, large ones find large ones quickly."""


def evidence(lost: int, compared: int, most: float) -> float:
    """Return the evidence against a share of at most `most`, from counts; 1 before anything was compared.

    >>> round(evidence(0, 100, 0.02), 2), round(evidence(10, 100, 0.02))
    (0.05, 978)
    """
    bets = BETS / most
    logs = lost * np.log1p(bets * (1 - most)) + (compared - lost) * np.log1p(-bets * most)
    top = float(logs.max())
    return math.exp(min(top, 700.0)) * float(np.exp(logs - top).mean())


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
        peak = max(self.peak, evidence(total, compared, self.most)) if lost else self.peak  # it rises by losses alone
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
