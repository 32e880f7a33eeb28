"""Give every prompt a length budget of its own, and cut it while the prompt is solved often enough."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range
from satisfice.core.rollouts import PROMPT, Floats, Groups, Ints, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State, check_advantage
from satisfice.methods.shaping._caps import over, right_within
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class Palu(ShapesReward):
    """Give every prompt a length budget of its own, and cut it while the prompt is solved often enough.

        r_i = c_i [L_i <= L_q]
        L_q <- L_q - (Q_1 - Q_{1-tau}) if the pass rate within the budget > target, else L_max

    at every visit of the prompt, with Q the quantiles of the lengths seen. Shortest length at a wanted pass rate as a
    Lagrangian, whose multiplier is either nothing or everything. State: the budgets, by name of the prompt.

    The authors' poster takes the quantiles over all rollouts, two reviewers' readings over the right ones
    (`over="right"`). Not published, and ours: the largest budget, the smallest one, numpy's interpolation of quantiles,
    rounding down to whole tokens.
    """

    card: ClassVar = Card(
        id="palu",
        paper="arXiv:2510.10168",
        where="authors' poster",
        needs=frozenset(),
        fidelity="paper",
        system="palu",
        ours=("longest", "floor", "advantage"),
        requires=frozenset({PROMPT}),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    target: Annotated[float, Range(0, 1)] = 0.8  # C: pass rate to hold; strict
    tau: Annotated[float, Range(0, 1)] = 0.5  # share of the longest rollouts that the cut is measured by
    longest: Annotated[int, Range(1)] = 8192  # L_max, tokens
    floor: Annotated[int, Range(1)] = 256  # no budget is less, tokens
    over: Literal["all", "right"] = "all"  # rollouts whose lengths count
    advantage: Shaper = Grpo(aggregation="token")

    def __post_init__(self) -> None:
        check_advantage(self)
        if self.floor > self.longest:
            raise BadInput(f"palu: floor must not exceed longest ({self.longest}), got {self.floor}. Lower it.")

    def init(self) -> State:
        return {"budgets": {}}

    def cap(self, state: State, prompts: Sequence[str]) -> Ints:
        return np.array([state["budgets"].get(name, self.longest) for name in prompts], dtype=np.int64)

    def update(self, state: State, rollouts: Rollouts) -> State:
        names = rollouts.prompts()
        caps = self.cap(state, names)
        right = right_within(rollouts, caps) > 0
        new = {
            names[rows[0]]: self.next_budget(int(caps[rows[0]]), rollouts.length[rows], right[rows])
            for rows in Groups(names)
        }
        return {"budgets": {**state["budgets"], **new}}

    def next_budget(self, budget: int, length: Ints | Floats, right: object) -> int:
        """The budget of a prompt after a visit: `length` and `right` (within the budget) of its rollouts, [G]."""
        solved = np.asarray(right, dtype=np.bool_)
        if not solved.mean() > self.target:
            return self.longest
        lengths = np.asarray(length, dtype=np.float64)
        lengths = lengths if self.over == "all" else lengths[solved]
        step = lengths.max() - np.quantile(lengths, 1 - self.tau)
        return max(self.floor, int(budget - step))

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        caps = self.cap(state or self.init(), rollouts.prompts())
        shaped = self.advantage(rollouts.rewarded(right_within(rollouts, caps)))
        return shaped.noted(cap=float(caps.mean()), over_cap=over(rollouts, caps))
