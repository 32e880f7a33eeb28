"""Compare each rollout with the mean of the others of its prompt."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State
from satisfice.methods.shaping.grpo import Lone


@dataclass(frozen=True, kw_only=True)
class Rloo:
    """Compare each rollout with the mean of the others of its prompt.

        A_i = r_i - mean_{j != i} r_j = G / (G - 1) (r_i - mean(r))

    An unbiased baseline, and no standard deviation. Reference code: verl and TRL (Apache-2.0). A lone rollout has no
    others to be compared with and gets 0; verl gives it its reward (`lone="reward"`).
    """

    card: ClassVar = Card(
        id="rloo",
        paper="arXiv:2402.14740",
        where="RLOO",
        needs=frozenset(),
        fidelity="code",
        ours=("lone", "clip_low", "clip_high", "kl"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    lone: Lone = "zero"  # advantage of a group of one
    clip_low: Annotated[float, Range(0, 1)] = 0.2
    clip_high: Annotated[float, Range(0)] = 0.2
    kl: Annotated[float, Range(0)] = 0.0  # weight of the divergence from the reference policy

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loss(self) -> Loss:
        return Loss(clip_low=self.clip_low, clip_high=self.clip_high, kl=self.kl)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        groups, reward = rollouts.groups, rollouts.reward
        alone = groups.size == 1
        advantage = (reward - groups.mean(reward)) * groups.size / np.maximum(groups.size - 1, 1)
        if self.lone == "reward":
            advantage = np.where(alone, reward, advantage)
        return Shaped(advantage=advantage, reward=reward)
