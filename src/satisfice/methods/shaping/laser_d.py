"""Pay right rollouts a bonus under a target length that follows the prompt's difficulty and the model's progress."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping._laser import RIGHT, MonitorsTargets, Rounding, scores, targets_of
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class LaserD(ShapesReward, MonitorsTargets):
    """Pay right rollouts a bonus under a target length that follows the prompt's difficulty and the model's progress.

        r_i = score_i + alpha [L_i <= L_A(band)] if right

    Groups fall into three bands by pass rate (2/3 and more, 1/3 and more, less). Every `every` steps the model answers
    a fixed set of monitor prompts, and each band gets the smallest target L_A on a grid at which at least `expected`
    right responses are to be expected, if lengths of right and wrong rollouts are alike:

        P(L <= L_A) C >= expected,    C = the fewest right rollouts of a group in the band

    With 8 rollouts per group that is about the 20th percentile of the lengths for easy prompts, the median for middling
    ones and the maximum for hard ones. A target is never above the longest rollout of the batch. Scores as in LASER.
    A right rollout that was cut off has no full score: it counts neither as right nor towards the pass rate of its
    band. State: the step, the step of the last monitoring, and the targets.

    Reference code: https://github.com/hkust-nlp/Laser. The names of the released models give `lower`.
    """

    card: ClassVar = Card(
        id="laser-d", paper="arXiv:2505.15612", where="LASER-D", needs=frozenset(), fidelity="code", system="laser"
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=True)

    alpha: Annotated[float, Range(0)] = 0.5  # the bonus
    lower: Annotated[int, Range(1)] = 4096  # smallest target, tokens; the paper also has 1024 and 2048
    upper: Annotated[int, Range(1)] = 16384  # largest target, tokens
    interval: Annotated[int, Range(1)] = 1024  # grid of targets, tokens
    expected: Annotated[int, Range(1)] = 1  # right responses
    rounding: Rounding = "floor"  # of C
    every: Annotated[int, Range(1)] = 20  # steps from one monitoring to the next
    monitor_prompts: Annotated[int, Range(1)] = 500
    fallback: Annotated[int, Range(1)] = 8192  # target of all bands before the first monitoring, tokens
    advantage: Shaper = Grpo(clip_high=0.28, entropy=0.001, aggregation="token")

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        base = scores(rollouts)
        target = targets_of(rollouts, state or self.init(), self.fallback)
        short = rollouts.length <= target
        shaped = self.advantage(rollouts.rewarded(base + np.where((base == RIGHT) & short, self.alpha, 0.0)))
        return shaped.noted(target=float(target.mean()), under_target=float(short.mean()))
