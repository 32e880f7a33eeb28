"""Let the length limit of rollouts swing down and up again, so that the model compresses and then explores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range
from satisfice.core.rollouts import Ints, Rollouts
from satisfice.core.shaper import STATELESS, CountsSteps, Pressure, Shaped, Shaper, ShapesReward, State, check_advantage
from satisfice.methods.shaping._caps import over, right_within
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class Siri(ShapesReward, CountsSteps):
    """Let the length limit of rollouts swing down and up again, so that the model compresses and then explores.

        r_i = c_i [L_i <= L(t)],    L(t) = mid + amp cos(2 pi t / T)

    between `longest` and `shortest` in a cycle of T steps. `stair` has the shortest limit in the first half of a cycle
    and the longest in the second (the order is ours); `stair-cosine` rests at both ends. Limits are rounded to whole
    tokens, and the loss is averaged over tokens, as by default in verl, on which the paper builds. State: the step.
    """

    card: ClassVar = Card(
        id="siri",
        paper="arXiv:2509.25176",
        where="length schedules",
        needs=frozenset(),
        fidelity="paper",
        system="siri",
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    longest: Annotated[int, Range(1)] = 16384  # tokens
    shortest: Annotated[int, Range(1)] = 8192  # tokens
    cycle: Annotated[int, Range(1)] = 640  # T, steps; the paper trains for three cycles
    form: Literal["cosine", "stair", "stair-cosine"] = "cosine"
    advantage: Shaper = Grpo(clip_high=0.28, kl=0.0, aggregation="token")

    def __post_init__(self) -> None:
        check_advantage(self)
        if self.shortest > self.longest:
            raise BadInput(f"siri: shortest must not exceed longest ({self.longest}), got {self.shortest}. Lower it.")

    def cap(self, state: State, prompts: Sequence[str]) -> Ints:
        return np.full(len(prompts), round(self.limit_at(state["step"])))

    def limit_at(self, step: int) -> float:
        """L(t), tokens."""
        mid, amp = (self.longest + self.shortest) / 2, (self.longest - self.shortest) / 2
        turn = (step % self.cycle) / self.cycle  # of a full circle
        match self.form:
            case "cosine":
                return mid + amp * math.cos(2 * math.pi * turn)
            case "stair":
                return float(self.shortest if turn < 0.5 else self.longest)
            case "stair-cosine":
                # Down within the second eighth and third eighth, up within the sixth and seventh; at rest in between.
                down = min(max(turn - 1 / 8, 0), 1 / 4)
                up = min(max(turn - 5 / 8, 0), 1 / 4)
                return mid + amp * math.cos(4 * math.pi * (down + up))

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        cap = round(self.limit_at((state or self.init())["step"]))
        shaped = self.advantage(rollouts.rewarded(right_within(rollouts, cap)))
        return shaped.noted(cap=float(cap), over_cap=over(rollouts, cap))
