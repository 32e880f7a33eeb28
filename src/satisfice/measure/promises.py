"""A threshold with a promise: at most so many answers are lost, with so much confidence.

A scalar rule (stop when a score passes a threshold) is tried on problems that it was not made from, at thresholds
fixed beforehand. A problem counts as *lost* at a threshold when the full chain answers it rightly and the stopped chain
does not. For each threshold in turn, the safest first, an exact binomial bound asks whether the share of lost problems
may be above the limit; at the first that may the testing ends, and the one before it is the choice. A fixed order, and
an end at the first failure, keep the chance of a false promise at `doubt` however many thresholds there are.

The promise is about problems like those it was tested on, and about whole chains: not about single looks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class ThresholdTest:
    """One threshold and what it lost."""

    threshold: float
    lost: int  # problems
    bound: float  # the share of lost problems is at most this, at the confidence asked for
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Controlled:
    """The outcome: the threshold that may be used, and every test up to the first that failed."""

    threshold: float | None  # None: not even the safest one can be promised
    problems: int
    most: float  # share of problems that may be lost
    doubt: float  # chance that the promise is false
    tested: tuple[ThresholdTest, ...]

    def __str__(self) -> str:
        """The promise in words."""
        if self.threshold is None:
            return f"no threshold: the safest loses {self.tested[0].lost} of {self.problems} problems"
        lost = max(t.lost for t in self.tested if t.threshold == self.threshold)
        return (
            f"threshold {self.threshold:g}: loses at most {self.most:.1%} of the answers, with confidence "
            f"{1 - self.doubt:.0%} ({lost} of {self.problems} problems lost)"
        )


def problems_needed(most: float, doubt: float) -> int:
    """How many problems it takes to promise a loss of at most `most`, when none is lost: (1 - most)^n <= doubt.

    >>> problems_needed(0.02, 0.05)
    149
    """
    _check_shares(most, doubt)
    return math.ceil(math.log(doubt) / math.log1p(-most))


def upper_bound(lost: int, problems: int, doubt: float) -> float:
    """The largest share of losses under which `lost` or fewer of `problems` still has chance `doubt` (Clopper-Pearson).

    >>> round(upper_bound(0, 149, 0.05), 4), round(upper_bound(3, 400, 0.05), 4)
    (0.0199, 0.0193)
    """
    from scipy.stats import beta

    return 1.0 if lost >= problems else float(beta.ppf(1 - doubt, lost + 1, problems - lost))


def control_risk(
    thresholds: Sequence[float], lost: ArrayLike, *, most: float = 0.02, doubt: float = 0.05
) -> Controlled:
    """The least safe threshold that can be promised to lose at most `most` of the answers, with confidence 1 - `doubt`.

    `thresholds` stand in the order of testing, the safest first, and are fixed before the data are seen; `lost` is
    `[thresholds, problems]`, whether each problem is lost at each. Problems are independent; of several chains of one
    problem take one.

    Raises:
        BadInput: too few problems to promise that much, even if none were lost.
    """
    table = np.asarray(lost, dtype=bool)
    if table.ndim != 2 or len(table) != len(thresholds) or not len(thresholds):
        raise BadInput(f"control_risk: lost must be [{len(thresholds)} thresholds, problems], got {table.shape}.")
    problems, needed = table.shape[1], problems_needed(most, doubt)
    if problems < needed:
        raise BadInput(
            f"control_risk: {problems} problems cannot support a promise of at most {most:.2%} lost with confidence "
            f"{1 - doubt:.0%}: that takes {needed} even if none is lost. Record more problems, or promise less."
        )
    tested: list[ThresholdTest] = []
    for threshold, row in zip(thresholds, table, strict=True):
        bound = upper_bound(int(row.sum()), problems, doubt)
        tested.append(ThresholdTest(threshold=threshold, lost=int(row.sum()), bound=bound, passed=bound <= most))
        if not tested[-1].passed:
            break
    good = [t.threshold for t in tested if t.passed]
    return Controlled(
        threshold=good[-1] if good else None, problems=problems, most=most, doubt=doubt, tested=tuple(tested)
    )


def lost_at(
    thresholds: Sequence[float],
    scores: Sequence[ArrayLike],
    right_if_stopped: Sequence[ArrayLike],
    right_in_full: ArrayLike,
) -> NDArray[np.bool_]:
    """Which problems a rule loses at each threshold, `[thresholds, problems]`: it stops at the first score above it.

    `scores[i]` are what the rule saw at its looks at problem i, in order; `right_if_stopped[i]` whether the answer is
    right when it stops there; `right_in_full[i]` whether that of the full chain is. For a score of which less is safer
    give minus the score.

    >>> lost_at([0.9, 0.5], [[0.6, 0.95], [0.2]], [[False, True], [False]], [True, True]).tolist()
    [[False, False], [True, False]]
    """
    full = np.asarray(right_in_full, dtype=bool)
    table = np.zeros((len(thresholds), len(full)), dtype=bool)
    for problem, (seen, right) in enumerate(zip(scores, right_if_stopped, strict=True)):
        values, good = np.asarray(seen, dtype=np.float64), np.asarray(right, dtype=bool)
        for at, threshold in enumerate(thresholds):
            above = np.flatnonzero(values > threshold)
            table[at, problem] = full[problem] and above.size > 0 and not good[above[0]]
    return table


def _check_shares(most: float, doubt: float) -> None:
    for name, value in (("most", most), ("doubt", doubt)):
        if not 0 < value < 1:
            raise BadInput(f"control_risk: {name} must lie between 0 and 1, got {value}.")
