"""Train under a length cap that is tightened stage by stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range
from satisfice.core.rollouts import Ints, Rollouts
from satisfice.core.shaper import STATELESS, CountsSteps, Pressure, Shaped, Shaper, ShapesReward, State, check_advantage
from satisfice.methods.shaping._caps import over, right_within
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class ThinkPrune(ShapesReward, CountsSteps):
    """Train under a length cap that is tightened stage by stage: 4000, then 3000, then 2000 tokens.

        r_i = c_i [L_i <= cap]

    A rollout that does not end within the cap is cut, so it has no answer and no reward; within it length is free.
    The paper and the code state the cap in the system prompt too, which is not done here, so that the trained model
    needs no such words: a difference from both. State: the step.

    Reference code: https://github.com/UCSB-NLP-Chang/ThinkPrune (Apache-2.0), where every stage is a run of its own
    from a checkpoint of the one before (step 180 in its example).
    """

    card: ClassVar = Card(
        id="thinkprune",
        paper="arXiv:2504.01296",
        where="iterative length pruning",
        needs=frozenset(),
        fidelity="paper",
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    first: Annotated[int, Range(1)] = 4000  # cap of the first stage, tokens
    last: Annotated[int, Range(1)] = 2000  # cap of the last stage, tokens
    drop: Annotated[int, Range(1)] = 1000  # from stage to stage, tokens
    stage_steps: Annotated[int, Range(1)] = 180
    advantage: Shaper = Grpo(aggregation="token")

    def __post_init__(self) -> None:
        check_advantage(self)
        if self.last > self.first:
            raise BadInput(f"thinkprune: last must not exceed first ({self.first}), got {self.last}. Lower it.")

    def cap(self, state: State, prompts: Sequence[str]) -> Ints:
        return np.full(len(prompts), self.cap_at(state["step"]))

    def cap_at(self, step: int) -> int:
        """Return the cap at a step, in tokens.

        >>> [ThinkPrune().cap_at(step) for step in (0, 179, 180, 360, 900)]
        [4000, 4000, 3000, 2000, 2000]
        """
        return max(self.last, self.first - self.drop * (step // self.stage_steps))

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        cap = self.cap_at((state or self.init())["step"])
        shaped = self.advantage(rollouts.rewarded(right_within(rollouts, cap)))
        return shaped.noted(cap=float(cap), over_cap=over(rollouts, cap))
