"""Pay right rollouts a bonus when they stay under a target length."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping._laser import RIGHT, scores
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class Laser(ShapesReward):
    """Pay right rollouts a bonus when they stay under a target length.

        r_i = score_i + alpha [L_i <= target] if right

    with a score of 1 for right, -0.5 for wrong and -1 for a rollout without the form that was asked for (the column
    `well_formed`; without it, one that was cut off). The window of training is much longer than the target, so that
    long right answers still earn their 1. The wrong score matters: with 0 in its place a long right rollout of a mixed
    group can end up at the baseline.

    Reference code: https://github.com/hkust-nlp/Laser. Its other modes: `penalty` takes alpha away beyond the target,
    `hybrid` does both.
    """

    card: ClassVar = Card(
        id="laser",
        paper="arXiv:2505.15612",
        where="LASER",
        needs=frozenset(),
        fidelity="code",
        system="laser",
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=True)

    target: Annotated[int, Range(1)] = 8192  # L_T, tokens; the paper also has 2048 and 4096
    alpha: Annotated[float, Range(0)] = 0.5  # the bonus
    mode: Literal["reward", "penalty", "hybrid"] = "reward"
    advantage: Shaper = Grpo(clip_high=0.28, entropy=0.001, aggregation="token")

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        base = scores(rollouts)
        short = rollouts.length <= self.target
        bonus = self.alpha * (short * (self.mode != "penalty") - 1.0 * ~short * (self.mode != "reward"))
        shaped = self.advantage(rollouts.rewarded(base + np.where(base == RIGHT, bonus, 0.0)))
        return shaped.noted(under_target=float(short.mean()))
