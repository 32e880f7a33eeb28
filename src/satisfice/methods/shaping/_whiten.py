"""Advantages in units of the whole batch's standard deviation."""

from typing import Literal

import numpy as np

from satisfice.core.rollouts import Bools, Floats, Rollouts
from satisfice.methods.shaping.grpo import Lone

Scope = Literal["token", "sequence"]
"""What counts once in the batch's mean and standard deviation: each token, so that long rollouts weigh more, or each
rollout."""

_EPS = 1e-8  # REINFORCE++'s, added to the variance


def centre_and_whiten(
    rollouts: Rollouts, reward: Floats, keep: Bools, *, scope: Scope, ddof: int, lone: Lone
) -> Floats:
    """Centre the rewards in each group, then standardise over all rows that are kept, [B]; the others get 0.

    a_i = r_i - mean_group(r),    A_i = (a_i - mean_batch(a)) / sqrt(var_batch(a) + 1e-8)
    """
    groups = rollouts.groups
    centred = reward - groups.mean(reward)
    if lone == "reward":
        centred = np.where(groups.size == 1, reward, centred)
    counts = np.where(keep, rollouts.length if scope == "token" else 1, 0).astype(np.float64)
    n = max(float(counts.sum()), 1.0)
    deviation = centred - float(counts @ centred) / n
    variance = float(counts @ deviation**2) / max(n - ddof, 1.0)
    return np.where(keep, deviation / np.sqrt(variance + _EPS), 0.0)


def largest(advantage: Floats) -> float:
    """Return the largest advantage without its sign: far above 10, a few tokens decide the whole update."""
    return float(np.abs(advantage).max())
