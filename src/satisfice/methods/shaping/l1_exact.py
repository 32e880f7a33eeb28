"""Make the model think for as many tokens as the prompt asks for."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping._columns import BUDGET
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class L1Exact(ShapesReward):
    """Make the model think for as many tokens as the prompt asks for.

        r_i = c_i - alpha |n - L_i|

    with n the budget that stands in the prompt ("Think for n tokens."), drawn for each prompt from 100 to 4000. The
    distance is charged to wrong rollouts too, so a group without a right one still learns to keep its budget.

    Reference code: https://github.com/cmu-l3/l1 (MIT).
    """

    card: ClassVar = Card(
        id="l1-exact",
        paper="arXiv:2503.04697",
        where="LCPO-Exact",
        needs=frozenset(),
        fidelity="code",
        requires=frozenset({BUDGET}),
    )
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    alpha: Annotated[float, Range(0)] = 0.0003  # reward per token of distance
    advantage: Shaper = Grpo(aggregation="token")

    def suffix(self, budget: int) -> str:
        """What the prompt has to say."""
        return f"Think for {budget} tokens."

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        distance = np.abs(rollouts["budget"] - rollouts.length)
        shaped = self.advantage(rollouts.rewarded(rollouts.correct - self.alpha * distance))
        return shaped.noted(budget_distance=float(distance.mean()))
