"""Ask for brevity only where the batch is most accurate."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Bools, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.lp_sigmoid import relative_length


@dataclass(frozen=True, kw_only=True)
class GrpoLambda(ShapesReward):
    """Ask for brevity only where the batch is most accurate, and for right answers alone elsewhere.

        r_i = c_i (1 - alpha sigmoid((L_i - mu) / s))    in the share `top` of groups with the highest pass rates
        r_i = c_i                                        in the others

    with mu and s over the lengths of the right rollouts of the group. At least one group is asked; among groups of
    equal pass rate those whose label comes first are.

    The paper's alpha, standard deviation and group size are not known to us; alpha and the population standard
    deviation are those of a third-party port. That port pays short wrong rollouts in the chosen groups, for want of
    the factor c_i; this does not.
    """

    card: ClassVar = Card(
        id="grpo-lambda",
        paper="arXiv:2505.18086",
        where="dynamic reward",
        needs=frozenset(),
        fidelity="second-hand",
        system="grpo-lambda",
        ours=("alpha", "ddof", "eps"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=True)

    top: Annotated[float, Range(0, 1)] = 0.2  # lambda: share of the groups that are asked for brevity
    alpha: Annotated[float, Range(0, 1)] = 0.6  # share of the reward that length can cost
    ddof: Annotated[int, Range(0, 1)] = 0  # of s: 0 population, 1 sample
    eps: Annotated[float, Range(1e-12)] = 1e-6  # added to s, tokens
    advantage: Shaper = Grpo()

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        asked, right = self.asked(rollouts), rollouts.correct
        place = relative_length(rollouts, right, ddof=self.ddof, eps=self.eps)
        shaped = self.advantage(rollouts.rewarded(np.where(right, 1 - self.alpha * place * asked, 0.0)))
        return shaped.noted(asked_accuracy=float(rollouts.correct[asked].mean()))

    def asked(self, rollouts: Rollouts) -> Bools:
        """Return rows of the groups that are asked for brevity, [B]."""
        groups = rollouts.groups
        count = max(1, math.ceil(self.top * groups.count - 1e-9))  # 0.07 * 100 is 7, whatever floats say
        chosen = np.argsort(-rollouts.accuracy[groups.first], kind="stable")[:count]
        return np.isin(groups.index, chosen)
