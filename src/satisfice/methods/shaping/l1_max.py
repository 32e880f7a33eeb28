"""Make the model keep within the tokens that the prompt allows."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping._budgets import check_budgets, drawn_budget
from satisfice.methods.shaping._columns import BUDGET
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class L1Max(ShapesReward):
    """Make the model keep within the tokens that the prompt allows.

        r_i = c_i clip(alpha (n - L_i) + delta, 0, 1)

    with n the budget that stands in the prompt ("Think for maximum n tokens."), which trainers put there as for
    `l1-exact`. The authors train on both kinds of prompt at once, each with its own reward; here all are of this
    kind. A right rollout at its budget gets delta; being shorter pays, up to 1. Wrong rollouts get 0.

    The released code (https://github.com/cmu-l3/l1, MIT) has half the slope, `form="code"`:
    r_i = c_i (clip(alpha (n - L_i), -1, 1) + 1) / 2. Which of the two made the released model cannot be told from it.
    """

    card: ClassVar = Card(
        id="l1-max",
        paper="arXiv:2503.04697",
        where="LCPO-Max",
        needs=frozenset(),
        fidelity="paper",
        requires=frozenset({BUDGET}),
    )
    asks: ClassVar = "budget"
    pressure: ClassVar = Pressure(wrong=False, all_right=True)

    alpha: Annotated[float, Range(0)] = 0.0003  # reward per token
    delta: Annotated[float, Range(0, 1)] = 0.5  # reward of a right rollout at its budget; the code form has 0.5 always
    form: Literal["paper", "code"] = "paper"
    least: Annotated[int, Range(1)] = 100  # smallest budget that is drawn, tokens
    most: Annotated[int, Range(1)] = 4000  # largest
    advantage: Shaper = Grpo(aggregation="token")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_budgets(self.card.id, self.least, self.most)

    def requested(self, state: State, prompt: str, given: float | None) -> float:
        return float(drawn_budget(prompt, self.least, self.most)) if given is None else given

    def suffix(self, value: float) -> str:
        return f"Think for maximum {value:g} tokens."

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        room = self.alpha * (rollouts["budget"] - rollouts.length)
        pay = np.clip(room + self.delta, 0, 1) if self.form == "paper" else (np.clip(room, -1, 1) + 1) / 2
        shaped = self.advantage(rollouts.rewarded(rollouts.correct * pay))
        return shaped.noted(over_budget=float(np.mean(rollouts.length > rollouts["budget"])))
