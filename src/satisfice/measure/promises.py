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
from typing import Literal

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
        """Return the promise in words."""
        if self.threshold is None:
            return f"no threshold: the safest loses {self.tested[0].lost} of {self.problems} problems"
        lost = max(t.lost for t in self.tested if t.threshold == self.threshold)
        return (
            f"threshold {self.threshold:g}: loses at most {self.most:.1%} of the answers, with confidence "
            f"{1 - self.doubt:.0%} ({lost} of {self.problems} problems lost)"
        )


def problems_needed(most: float, doubt: float) -> int:
    """Return how many problems it takes to promise a loss of at most `most`, when none is lost: (1 - most)^n <= doubt.

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


Loss = Literal["lost", "net", "changed", "wrong"]
"""What a promise bounds, as a share of problems.

*lost*: the full chain is right and the stopped one is not; *net*: lost less gained; *changed*: the answer differs from
that of the full chain; *wrong*: the answer is not right, whatever the full chain's is.
"""


def loss_bound(losses: ArrayLike, doubt: float, loss: Loss = "lost") -> float:
    """Return a bound above the true loss that holds with confidence 1 - `doubt`, from independent problems.

    `losses` is `[problems]`: 1 where a problem is lost (or changed), -1 where one is gained, else 0. Lost and changed
    are shares and have the exact binomial bound. Net is the bound above what is lost less the bound below what is
    gained, each at half the doubt.

    >>> round(loss_bound([1] * 3 + [0] * 397, 0.05), 4)
    0.0193
    >>> round(loss_bound([1] * 3 + [-1] * 9 + [0] * 388, 0.05, "net"), 4)
    0.0114
    """
    values = np.asarray(losses)
    problems, lost = values.size, int((values > 0).sum())
    if loss != "net":
        return upper_bound(lost, problems, doubt)
    kept = upper_bound(problems - int((values < 0).sum()), problems, doubt / 2)  # those that are not gained
    return upper_bound(lost, problems, doubt / 2) - (1 - kept)


def loss_floor(losses: ArrayLike, doubt: float = 0.01) -> float:
    """Return a bound below the true share of problems lost that holds with confidence 1 - `doubt` (Clopper-Pearson).

    >>> round(loss_floor([1] * 30 + [0] * 270), 3)
    0.064
    """
    values = np.asarray(losses)
    return 1 - upper_bound(values.size - int((values > 0).sum()), values.size, doubt)


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """One setting, what it lost, and the bound above what it may lose."""

    setting: str
    lost: tuple[int, ...]  # problems lost (or changed), class by class
    gained: tuple[int, ...]  # problems gained
    bound: float  # the largest over classes of the bound above the loss
    passed: bool


def fixed_sequence(
    settings: Sequence[str], losses: ArrayLike, classes: ArrayLike, *, most: float, doubt: float, loss: Loss = "lost"
) -> list[Bounded]:
    """Test settings in a fixed order, the safest first, up to the first that may lose more than `most` in some class.

    `losses` is `[settings, problems]` as `loss_bound` takes it, `classes` `[problems]` the class of each problem as a
    whole number from 0. A setting passes when the bound of *every* class is within `most`, each at the whole doubt: a
    promise is false only where some class is above, and that class alone passes wrongly with chance `doubt` at most
    (an intersection-union test, Berger 1982). A fixed order that ends at the first failure needs no correction for how
    many settings there are (fixed-sequence testing, as in Learn then Test, arXiv:2110.01052, Sec. 2). The order must
    not depend on these problems.
    """
    table, of = np.asarray(losses), np.asarray(classes)
    known = range(int(of.max()) + 1 if of.size else 0)
    tested: list[Bounded] = []
    for setting, row in zip(settings, table, strict=True):
        parts = [row[of == one] for one in known]
        bound = max(loss_bound(part, doubt, loss) for part in parts)
        lost, gained = (tuple(int((sign * part > 0).sum()) for part in parts) for sign in (1, -1))
        tested.append(Bounded(setting=setting, lost=lost, gained=gained, bound=bound, passed=bound <= most))
        if not tested[-1].passed:
            break
    return tested


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
    tests = fixed_sequence(
        list(map(str, thresholds)), table.astype(int), np.zeros(problems, dtype=int), most=most, doubt=doubt
    )
    tested = tuple(
        ThresholdTest(threshold=value, lost=test.lost[0], bound=test.bound, passed=test.passed)
        for value, test in zip(thresholds, tests, strict=False)
    )
    good = [t.threshold for t in tested if t.passed]
    return Controlled(threshold=good[-1] if good else None, problems=problems, most=most, doubt=doubt, tested=tested)


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
