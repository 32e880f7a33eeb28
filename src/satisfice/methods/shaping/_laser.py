"""What the LASER methods share: the verifier's scores, the bonus, and the search for a target length."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from satisfice.core.rollouts import Bools, Floats, Rollouts
from satisfice.core.shaper import State

RIGHT, WRONG, MALFORMED = 1.0, -0.5, -1.0  # the scores of LASER's verifier

Band = Literal["high", "medium", "low"]
Rounding = Literal["floor", "ceil"]


def scores(rollouts: Rollouts) -> Floats:
    """1 for right, -0.5 for wrong, -1 for a rollout without the form that was asked for, [B].

    The form is the column `well_formed` where the batch has it; without it, a rollout that was cut off has none.
    """
    well_formed = rollouts.columns.get("well_formed", ~rollouts.truncated).astype(np.bool_)
    return np.where(well_formed, np.where(rollouts.correct, RIGHT, WRONG), MALFORMED)


def solved(rollouts: Rollouts) -> Floats:
    """Return each row's pass rate as LASER counts it: the share of its group with the full score, [B].

    A right answer in a rollout that was cut off, or without the form that was asked for, does not count.
    """
    return rollouts.groups.mean(scores(rollouts) == RIGHT)


def bands(accuracy: Floats) -> tuple[Bools, Bools, Bools]:
    """Easy, middling and hard groups of a training batch, by pass rate: at least 2/3, at least 1/3, less; [B] each."""
    easy, hard = accuracy >= 2 / 3, accuracy < 1 / 3
    return easy, ~easy & ~hard, hard


def targets_of(rollouts: Rollouts, state: State, fallback: int) -> Floats:
    """Return the target length of each rollout by the band of its group, never above the longest of the batch, [B]."""
    table = state["targets"]
    longest = float(rollouts.length.max())
    chosen = [table.get(band, fallback) for band in ("high", "medium", "low")]
    values = [longest if target is None else min(float(target), longest) for target in chosen]
    return np.select(bands(solved(rollouts)), values)


def candidates(lower: int, upper: int, interval: int) -> list[int]:
    """Lengths that a target may have: a grid from `lower`, which a smaller one than the interval stands before."""
    grid = range(lower if lower >= interval else interval, upper + 1, interval)
    return [*([lower] if lower < interval else []), *grid]


def search_targets(
    rollouts: Rollouts, grid: Sequence[int], *, expected: int, rounding: Rounding
) -> dict[str, int | None]:
    """For each band of the monitored prompts the smallest length at which enough right responses are to be expected.

        ECR(l) = P(L <= l) C >= expected

    with P over all rollouts of the band, right or wrong, and C the fewest right rollouts that a group of the band can
    have: 2/3, 1/3 of a group, and 1. None where no length of the grid is enough or the band is empty.
    """
    size = int(rollouts.groups.size.max())
    whole = math.floor if rounding == "floor" else math.ceil
    fewest = {"high": whole(2 * size / 3), "medium": whole(size / 3), "low": 1}
    p = solved(rollouts)
    rows = {"high": p > 2 / 3, "medium": (p > 1 / 3) & (p <= 2 / 3), "low": p <= 1 / 3}  # not the training bands
    found: dict[str, int | None] = {}
    for band, right in fewest.items():
        length = rollouts.length[rows[band]]
        n = len(length)
        enough = [limit for limit in grid if n and int((length <= limit).sum()) * right >= expected * n]
        found[band] = enough[0] if enough else None
    return found


class MonitorsTargets:
    """What LASER-D and LASER-DE remember: the target of each band, searched for anew every `every` steps."""

    lower: int
    upper: int
    interval: int
    expected: int
    rounding: Rounding
    every: int

    def init(self) -> State:
        return {"step": 0, "monitored": 0, "targets": {}}

    def update(self, state: State, rollouts: Rollouts) -> State:
        return {**state, "step": state["step"] + 1}

    def monitor_due(self, state: State) -> bool:
        return bool(state["step"] - state["monitored"] >= self.every)

    def monitor(self, state: State, rollouts: Rollouts) -> State:
        grid = candidates(self.lower, self.upper, self.interval)
        targets = search_targets(rollouts, grid, expected=self.expected, rounding=self.rounding)
        return {"step": state["step"], "monitored": state["step"], "targets": targets}
