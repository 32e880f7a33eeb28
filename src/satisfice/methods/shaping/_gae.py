"""Advantages from a value head, over tokens."""

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.rollouts import Floats


def generalised_advantage(
    reward: ArrayLike,
    value: ArrayLike,
    mask: ArrayLike,
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
    bootstrap: ArrayLike = 0.0,
) -> Floats:
    """Generalised advantage estimates; all [B, T], `bootstrap` [B] is the value of what comes after the last token.

        delta_t = r_t + gamma V(s_{t+1}) - V(s_t),    A_t = delta_t + gamma lam A_{t+1}

    Tokens outside the mask are passed over: what follows a gap follows what stands before it. They get 0.
    """
    r, v, valid = np.asarray(reward, dtype=np.float64), np.asarray(value, dtype=np.float64), np.asarray(mask, np.bool_)
    following = np.broadcast_to(np.asarray(bootstrap, dtype=np.float64), valid.shape[:1])
    running, advantage = np.zeros(len(valid)), np.zeros(valid.shape)
    for t in range(valid.shape[1] - 1, -1, -1):
        here = valid[:, t]
        delta = r[:, t] + gamma * following - v[:, t]
        running = np.where(here, delta + gamma * lam * running, running)
        following = np.where(here, v[:, t], following)
        advantage[:, t] = np.where(here, running, 0.0)
    return advantage


def last_token(mask: ArrayLike) -> Floats:
    """1 at the last token of each row that the mask has, 0 elsewhere, [B, T]."""
    valid = np.asarray(mask, dtype=np.bool_)
    after = np.cumsum(valid[:, ::-1], axis=1)[:, ::-1]
    last: Floats = (valid & (after == 1)).astype(np.float64)
    return last
