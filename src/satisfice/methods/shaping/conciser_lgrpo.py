"""Reward the shorter rollouts of those prompts that every rollout gets right."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, Shaper, State, check_advantage
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class ConciserLgrpo:
    """Reward the shorter rollouts of those prompts that every rollout gets right.

    Walk before you run: a first stage (`explore`) trains for accuracy with room to explore; a second, shorter one
    (`concise`) asks for brevity, where nothing can be lost by it.

        explore:  r_i = c_i,  prompts with 0 < sum c < G only
        concise:  r_i = 1 - L_i / limit if all of the group are right, else c_i

    A rollout that hit the token limit counts as wrong (our reading). The published code has no training part, and the
    expression of the second stage is ours; inside a group that is all right, any reward a - b L_i with b > 0 gives the
    same advantage (mean L - L_i) / std L, so the choice matters through eps alone.

    >>> from satisfice.testing import rollouts
    >>> ConciserLgrpo()(rollouts(correct=[1, 1, 1, 1], length=[800, 1200, 1600, 2400])).advantage.round(2)
    array([ 1.02,  0.44, -0.15, -1.32])
    """

    card: ClassVar = Card(
        id="conciser-lgrpo",
        paper="arXiv:2505.21178",
        where="L-GRPO",
        needs=frozenset(),
        fidelity="reconstructed",
        system="conciser",
        ours=("limit", "clip_high", "entropy", "advantage"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=True)

    stage: Literal["concise", "explore"] = "concise"
    limit: Annotated[int, Range(1)] = 3072  # tokens; the paper takes the largest context length
    clip_high: Annotated[float, Range(0)] = 0.28  # both stages clip higher above; DAPO's value
    entropy: Annotated[float, Range(0)] = 0.001  # weight of the entropy bonus, first stage only
    advantage: Shaper = Grpo(kl=0)

    def __post_init__(self) -> None:
        check_advantage(self)

    @property
    def loss(self) -> Loss:
        entropy = self.entropy if self.stage == "explore" else 0.0
        return replace(self.advantage.loss, clip_high=self.clip_high, entropy=entropy)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        right = rollouts.correct & ~rollouts.truncated
        some, every = rollouts.groups.any(right), rollouts.groups.all(right)
        if self.stage == "explore":
            return self.advantage(rollouts.rewarded(right)).keeping(some & ~every)
        reward = np.where(every, 1 - rollouts.length / self.limit, right)
        return self.advantage(rollouts.rewarded(reward)).noted(
            groups_pressed=float(every[rollouts.groups.first].mean())
        )
