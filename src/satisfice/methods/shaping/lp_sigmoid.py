"""Pay right rollouts a little less the longer they are among the right ones of their prompt."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Bools, Floats, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping.rloo import Rloo


@dataclass(frozen=True, kw_only=True)
class LpSigmoid(ShapesReward):
    """Pay right rollouts a little less the longer they are among the right ones of their prompt.

        r_i = c_i (1 - alpha sigmoid((L_i - mu) / (s + eps)))

    with mu and s the mean and standard deviation of the lengths of the right rollouts of the group. Wrong rollouts get
    0 whatever their length; a right one keeps at least 1 - alpha. One right rollout, or equal lengths, gives
    1 - alpha / 2. A rollout that was cut off counts as wrong, as in the authors' scripts.

    Reference code: https://github.com/Zanette-Labs/efficient-reasoning (Apache-2.0); population standard deviation.
    """

    card: ClassVar = Card(
        id="lp-sigmoid", paper="arXiv:2502.04463", where="length penalty", needs=frozenset(), fidelity="code"
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=True)

    alpha: Annotated[float, Range(0, 1)] = 0.1  # the knob: share of the reward that length can cost
    ddof: Annotated[int, Range(0, 1)] = 0  # of s: 0 population (the authors' code), 1 sample
    eps: Annotated[float, Range(1e-12)] = 1e-7  # added to s, tokens
    cut_is_wrong: bool = True  # a rollout without an end of its own counts as wrong
    advantage: Shaper = Rloo(kl=0.001)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        right = rollouts.correct & ~rollouts.truncated if self.cut_is_wrong else rollouts.correct
        place = relative_length(rollouts, right, ddof=self.ddof, eps=self.eps)
        return self.advantage(rollouts.rewarded(np.where(right, 1 - self.alpha * place, 0.0)))


def relative_length(rollouts: Rollouts, right: Bools, *, ddof: int, eps: float) -> Floats:
    """Where a length lies among those of the right rollouts of its group, from 0 (shortest) to 1, [B].

    The sigmoid of the z-score: 0.5 for the mean.
    """
    groups, length = rollouts.groups, rollouts.length
    z = (length - groups.mean(length, right)) / (groups.std(length, right, ddof=ddof) + eps)
    return 0.5 * (1 + np.tanh(z / 2))  # the sigmoid, without overflow
