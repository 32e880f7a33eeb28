"""Rewards under a cap on length."""

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.rollouts import Floats, Rollouts


def right_within(rollouts: Rollouts, caps: ArrayLike) -> Floats:
    """1 for a right rollout that ends within its cap, else 0: `r = c [L <= cap]`, [B]."""
    return np.where(rollouts.correct & (rollouts.length <= np.asarray(caps)), 1.0, 0.0)


def over(rollouts: Rollouts, caps: ArrayLike) -> float:
    """Share of the rollouts that are longer than their cap, or were cut there."""
    return float(np.mean(rollouts.truncated | (rollouts.length > np.asarray(caps))))
