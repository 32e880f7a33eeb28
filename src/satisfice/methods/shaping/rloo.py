"""Compare each rollout with the mean of the others of its prompt."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

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

    Sources agree on the advantage and differ in the loss. `form=verl`, the default, clips the ratio of each token and
    averages over all tokens. `form=paper` is REINFORCE: -A log p of whole rollouts, without a ratio, the mean over
    rollouts. `form=trl` clips the ratio of whole rollouts: here by the mean of its log, which keeps it near 1 at any
    length, where TRL takes the sum. The papers put the divergence from the reference policy into the reward; `kl`
    adds it to the loss.
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
    form: Literal["verl", "paper", "trl"] = "verl"  # of the loss
    clip_low: Annotated[float, Range(0, 1)] = 0.2
    clip_high: Annotated[float, Range(0)] = 0.2
    kl: Annotated[float, Range(0)] = 0.0  # weight of the divergence from the reference policy

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loss(self) -> Loss:
        if self.form == "paper":
            return Loss(ratio="none", aggregation="constant", constant=1, kl=self.kl)
        whole = self.form == "trl"
        return Loss(
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            kl=self.kl,
            ratio="sequence" if whole else "token",
            aggregation="sequence" if whole else "token",
        )

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        groups, reward = rollouts.groups, rollouts.reward
        alone = groups.size == 1
        advantage = (reward - groups.mean(reward)) * groups.size / np.maximum(groups.size - 1, 1)
        if self.lone == "reward":
            advantage = np.where(alone, reward, advantage)
        return Shaped(advantage=advantage, reward=reward)
