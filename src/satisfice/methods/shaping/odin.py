"""Train on a reward model's quality head, with length taken out of it into a head of its own."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.rollouts import Floats, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping._columns import SCORE
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class Odin(ShapesReward):
    """Train on a reward model's quality head, with length taken out of it into a head of its own.

    A reward model with two linear heads, r_Q and r_L, is trained on pairs of answers (the functions of this file);
    reinforcement learning then reads `score`, which is r_Q, and nothing else:

        ranking        -log sigmoid((r_Q + r_L)(chosen) - (r_Q + r_L)(rejected))
        length         (1 - corr(L, r_L)) + |corr(L, r_Q)|       over chosen and rejected of the whole batch
        orthogonality  |<w_Q, w_L>|                              of centred, normalised rows

    summed with weights 1. Reference code: https://github.com/Lichang-Chen/ODIN (no licence). A constant length or
    reward has no correlation; it counts as 0 here.
    """

    card: ClassVar = Card(
        id="odin",
        paper="arXiv:2402.07319",
        where="official code",
        needs=frozenset(),
        fidelity="paper",
        system="odin",
        requires=frozenset({SCORE}),
        ours=("advantage",),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    advantage: Shaper = Grpo()

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        shaped = self.advantage(rollouts.rewarded(rollouts["score"]))
        return shaped.noted(length_correlation=correlation(rollouts.length, rollouts["score"]))


def correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's; 0 where one of the two is constant.

    >>> correlation([1, 2, 3], [2, 4, 6]), correlation([1, 2, 3], [5, 5, 5])
    (1.0, 0.0)
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (x, y))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float(np.clip((a * b).sum() / scale, -1.0, 1.0)) if scale > 0 else 0.0


def ranking_loss(chosen: ArrayLike, rejected: ArrayLike) -> float:
    """Mean of -log sigmoid(chosen - rejected), each the sum of both heads, [pairs].

    >>> round(ranking_loss([1.0], [0.0]), 4), round(ranking_loss([-900.0], [0.0]), 1)
    (0.3133, 900.0)
    """
    gap = np.asarray(chosen, dtype=np.float64) - np.asarray(rejected, dtype=np.float64)
    return float(np.logaddexp(0.0, -gap).mean())


def length_loss(length: ArrayLike, quality: ArrayLike, by_length: ArrayLike, *, both_heads: bool = False) -> float:
    """What ties the length head to lengths and frees the quality head of them; answers of the whole batch, [2 pairs].

    `both_heads` adds |corr(length, r_Q + r_L)| as the released two-head script does.
    """
    loss = 1 - correlation(length, by_length) + abs(correlation(length, quality))
    total = np.asarray(quality, dtype=np.float64) + np.asarray(by_length, dtype=np.float64)
    return loss + abs(correlation(length, total)) if both_heads else loss


def orthogonality_loss(quality_head: ArrayLike, length_head: ArrayLike) -> float:
    """|<w_Q, w_L>| of the two rows of weights, centred and of length 1.

    >>> round(orthogonality_loss([1.0, -1.0, 0.0], [1.0, 1.0, -2.0]), 4)
    0.0
    >>> round(orthogonality_loss([1.0, 2.0], [2.0, 4.0]), 4)
    1.0
    """
    return abs(float(_unit(quality_head) @ _unit(length_head)))


def _unit(row: ArrayLike) -> Floats:
    w: Floats = np.asarray(row, dtype=np.float64)
    w = w - w.mean()
    unit: Floats = w / max(float(np.sqrt((w**2).sum())), 1e-12)
    return unit
