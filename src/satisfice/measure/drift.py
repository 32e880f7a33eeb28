"""Whether what comes in is still like what a promise was made on, looked at after every request.

A number of each request (tokens of its prompt, tokens up to the rule's first look, what that look saw) is ranked among
those of the recording and of all requests before it. While all of them are exchangeable, the share that lies below,
ties broken by chance, is uniform and independent of the past (a conformal p-value, Vovk 2005). A gambler who bets on
small or large shares p, and now and then changes sides,

    C_e <- (1 - J) C_e + J C / 3,    C_e <- C_e (1 + e (p - 1/2)),    e in {-1, 0, 1},    C = C_-1 + C_0 + C_1

owns a test martingale (the Simple Jumper of Vovk et al., arXiv:2102.10439), so C ever reaches 1 / doubt with chance at
most `doubt` while nothing drifts. Values are kept as counts in bins, which costs power and not validity.
"""

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.errors import BadInput
from satisfice.core.session import Event

JUMP = 0.01  # J: share of the wealth that changes sides at each request
BINS = 32


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a number was like in the recording: how many values lie between each two edges."""

    edges: tuple[float, ...]  # rising; the first bin is below the first edge, a value on an edge above it
    counts: tuple[int, ...]  # one more than edges

    def __post_init__(self) -> None:
        rises = all(a < b for a, b in zip(self.edges, self.edges[1:], strict=False))
        if not rises or len(self.counts) != len(self.edges) + 1 or min(self.counts) < 0:
            raise BadInput("a reference has rising edges, and a count for each bin between, below and above them.")

    @classmethod
    def of(cls, values: ArrayLike) -> "Reference":
        """Return the reference of some values, in about `BINS` bins of as many values each; NaN is left out.

        >>> Reference.of([1, 2, 2, 3])
        Reference(edges=(2.0, 3.0), counts=(1, 2, 1))
        """
        known = np.asarray(values, dtype=np.float64)
        known = known[np.isfinite(known)]
        if not known.size:
            return cls(edges=(), counts=(0,))
        cuts = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1], method="higher"))
        edges = tuple(float(cut) for cut in cuts if cut > known.min())
        counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
        return cls(edges=edges, counts=tuple(int(n) for n in counts))


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The state of the watch over one number: JSON-able, advanced by `seen`.

    >>> watched = Drift(reference=Reference.of(range(100)))
    >>> for _ in range(20):
    ...     watched = watched.seen(99, luck=0.5)
    >>> watched.drifted, watched.direction
    (True, 'higher')
    """

    reference: Reference
    doubt: float = 0.05  # chance of a false alarm, over the whole life
    seen_counts: tuple[int, ...] = ()
    wealth: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)  # of those who bet on lower, on nothing, on higher
    peak: float = 1.0  # the most that they ever owned
    higher: bool = True  # at the peak it was the bet on higher values that had paid

    def seen(self, value: float, luck: float) -> "Drift":
        """Return the state after one more request; `luck`, uniform on [0, 1), breaks ties. NaN changes nothing."""
        if math.isnan(value) or not sum(self.reference.counts):
            return self
        mine = bisect.bisect_right(self.reference.edges, value)
        before = self.seen_counts or (0,) * len(self.reference.counts)
        after = tuple(n + (at == mine) for at, n in enumerate(before))
        bag = [a + b for a, b in zip(self.reference.counts, after, strict=True)]
        p = (sum(bag[:mine]) + luck * bag[mine]) / sum(bag)  # the share that lies below
        total = sum(self.wealth)
        low, none, high = ((1 - JUMP) * one + JUMP * total / 3 for one in self.wealth)
        wealth = (low * (1.5 - p), none, high * (0.5 + p))
        best = sum(wealth) > self.peak
        return replace(
            self, seen_counts=after, wealth=wealth, peak=max(self.peak, sum(wealth)),
            higher=wealth[2] > wealth[0] if best else self.higher,
        )  # fmt: skip

    @property
    def requests(self) -> int:
        """How many requests were looked at."""
        return sum(self.seen_counts)

    @property
    def drifted(self) -> bool:
        """Whether what comes in differs from the recording, with confidence 1 - `doubt`. Once true it stays so."""
        return self.peak >= 1 / self.doubt

    @property
    def direction(self) -> str:
        """Whether values are higher or lower than those of the recording; "" while nothing has drifted."""
        return ("higher" if self.higher else "lower") if self.drifted else ""


def first_look(log: Iterable[Event]) -> tuple[float, float]:
    """Return after how many tokens a rule looked first, and what it saw; NaN for both where it never looked.

    Neither depends on where the rule stops, so they are alike whether it decides or only watches.
    """
    for event in log:
        if event.kind == "look":
            return float(event.at), float(event.data["value"])
    return math.nan, math.nan


NUMBERS: Sequence[str] = ("prompt", "first_look", "confidence")
"""What is watched of each request: tokens of its prompt, tokens up to the rule's first look, what that look saw."""
