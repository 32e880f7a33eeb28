"""Whether giving up a chain early and starting another pays at all, from how often a predictor of failure errs.

A chain is an attempt that a verifier tells right from wrong at its end; a wrong one is followed by another. A predictor
looks at each attempt on the way and may end it. It saves the rest of a wrong attempt and throws away right ones that it
takes for wrong, so whether it pays depends on four measured numbers and not on how good it sounds. After "Optimal
decision making in robotic assembly and other trial-and-error tasks"; the formula is our derivation, checked by
simulation in the tests.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.errors import BadInput

RESAMPLES = 2_000
_WORST = -1e3  # of a saving: a sample in which every right chain is given up never ends


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """What is known of attempts and of the predictor: rates, and mean times in tokens or any other unit."""

    right: float  # p: attempts that are right if they are left alone
    caught: float  # true positive rate: wrong attempts that are given up
    lost: float  # false positive rate: right attempts that are given up
    until_right: float  # t_s: time to the end of an attempt that is right
    until_wrong: float  # t_f: time to the end of one that is wrong
    until_look: float  # t_p: time to where the predictor looks
    restart: float = 0.0  # c: what beginning again costs

    def __post_init__(self) -> None:
        for name in ("right", "caught", "lost"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"Attempts: {name} must be from 0 to 1, got {getattr(self, name)}.")
        for name in ("until_right", "until_wrong", "until_look", "restart"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise BadInput(f"Attempts: {name} must be a time of at least 0, got {getattr(self, name)}.")

    @property
    def waiting(self) -> float:
        """Expected time to a right answer when every attempt runs to its end: t_s + (1 - p) / p (t_f + c)."""
        if self.right == 0:
            return float("inf")
        return self.until_right + (1 - self.right) / self.right * (self.until_wrong + self.restart)

    @property
    def dropping(self) -> float:
        """Expected time to a right answer when attempts that look wrong are given up.

        [p (1-fpr) t_s + (p fpr + (1-p) tpr) t_p + (1-p)(1-tpr) t_f] / [p (1-fpr)] + c (1 / (p (1-fpr)) - 1)

        >>> some = Attempts(right=0.5, caught=0.8, lost=0.1, until_right=100, until_wrong=200, until_look=50)
        >>> round(some.dropping, 4), some.waiting
        (194.4444, 300.0)
        """
        p, wins = self.right, self.right * (1 - self.lost)
        if wins == 0:
            return float("inf")
        one = wins * self.until_right + (1 - p) * (1 - self.caught) * self.until_wrong
        one += (p * self.lost + (1 - p) * self.caught) * self.until_look
        return one / wins + self.restart * (1 / wins - 1)

    @property
    def affordable(self) -> float:
        """The false positive rate at which dropping takes as long as waiting, all else as it is; below, it pays."""
        if self.right == 0:
            return 1.0
        p, whole = self.right, self.waiting + self.restart
        missed = (1 - p) * (self.caught * self.until_look + (1 - self.caught) * self.until_wrong)
        room = whole * p - p * self.until_right - missed - self.restart
        return room / (p * (self.until_look - self.until_right + whole))


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Whether to give up chains that look wrong.

    `saving` is the share of the time to a right answer that this saves, `low` to `high` its interval.
    """

    attempts: Attempts
    saving: float
    low: float
    high: float

    @property
    def verdict(self) -> Literal["drop", "wait", "undecided"]:
        """What the interval allows to say."""
        return "drop" if self.low > 0 else "wait" if self.high < 0 else "undecided"

    def __str__(self) -> str:
        word = {
            "drop": "Give up chains that look wrong",
            "wait": "Do not give up chains early",
            "undecided": "These chains do not show whether giving up early pays",
        }[self.verdict]
        lost, affordable = self.attempts.lost, self.attempts.affordable
        return (
            f"{word}: the time to a right answer changes by {-self.saving:+.1%} ({-self.high:+.1%} to "
            f"{-self.low:+.1%}); {lost:.1%} of right chains would be given up, up to {affordable:.1%} would pay."
        )


def advise(
    right: ArrayLike, flagged: ArrayLike, length: ArrayLike, looked_at: ArrayLike, *, restart: float = 0.0
) -> Advice:
    """Advice from recorded chains: for each whether it was right, whether the predictor said wrong, and two times.

    All are `[n]`: `length` is the time to the chain's end, `looked_at` that to the predictor's look. The interval is
    a 95 % bootstrap over chains; chains of one problem are alike, so give one chain a problem, or expect it too narrow.

    It takes for granted that a wrong end is noticed (a verifier), and that a new attempt is as likely to be right.
    """
    from scipy.stats import bootstrap

    columns = [np.asarray(column, dtype=np.float64) for column in (right, flagged, length, looked_at)]
    if any(column.ndim != 1 or len(column) != len(columns[0]) for column in columns) or len(columns[0]) < 2:
        raise BadInput("advise: right, flagged, length and looked_at must be lists of one length, at least 2 chains.")
    if not 0 < columns[0].sum() < len(columns[0]):
        raise BadInput("advise: there must be right chains and wrong ones among them, or there is nothing to predict.")

    def saving(*sample: NDArray[np.float64]) -> float:
        attempts = _attempts(*sample, restart=restart)
        return 0.0 if attempts is None else max(_WORST, 1 - attempts.dropping / attempts.waiting)

    found = bootstrap(
        columns, saving, paired=True, vectorized=False, n_resamples=RESAMPLES, method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    attempts = _attempts(*columns, restart=restart)
    assert attempts is not None  # there are right chains and wrong ones
    return Advice(attempts=attempts, saving=saving(*columns), low=float(found.low), high=float(found.high))


def _attempts(
    right: NDArray[np.float64], flagged: NDArray[np.float64], length: NDArray[np.float64], at: NDArray[np.float64],
    *, restart: float,
) -> Attempts | None:  # fmt: skip
    """Rates and mean times of a sample; None where it has no right or no wrong chain."""
    good = right > 0
    if good.all() or not good.any():
        return None
    return Attempts(
        right=float(good.mean()), caught=float(flagged[~good].mean()), lost=float(flagged[good].mean()),
        until_right=float(length[good].mean()), until_wrong=float(length[~good].mean()),
        until_look=float(at.mean()), restart=restart,
    )  # fmt: skip
