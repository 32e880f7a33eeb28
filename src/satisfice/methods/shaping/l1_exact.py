"""Make the model think for as many tokens as the prompt asks for."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping._budgets import check_budgets, drawn_budget
from satisfice.methods.shaping._columns import BUDGET
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class L1Exact(ShapesReward):
    """Make the model think for as many tokens as the prompt asks for.

        r_i = c_i - alpha |n - L_i|

    with n the budget that stands in the prompt ("Think for n tokens."). Trainers put it there: the problem's own
    (`budget` in its metadata), or one drawn for each prompt from `least` to `most`, once and for all. The
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
    asks: ClassVar = "budget"
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    alpha: Annotated[float, Range(0)] = 0.0003  # reward per token of distance
    least: Annotated[int, Range(1)] = 100  # smallest budget that is drawn, tokens
    most: Annotated[int, Range(1)] = 4000  # largest
    advantage: Shaper = Grpo(aggregation="token")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_budgets(self.card.id, self.least, self.most)

    def requested(self, state: State, prompt: str, given: float | None) -> float:
        return float(drawn_budget(prompt, self.least, self.most)) if given is None else given

    def suffix(self, value: float) -> str:
        return f"Think for {value:g} tokens."

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        distance = np.abs(rollouts["budget"] - rollouts.length)
        shaped = self.advantage(rollouts.rewarded(rollouts.correct - self.alpha * distance))
        return shaped.noted(budget_distance=float(distance.mean()))
