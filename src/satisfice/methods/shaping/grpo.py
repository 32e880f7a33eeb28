"""Compare each rollout with the others of its prompt."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Aggregation, Loss, Pressure, Shaped, State

Lone = Literal["zero", "reward"]
"""The advantage of a rollout that has no others to be compared with."""


@dataclass(frozen=True, kw_only=True)
class Grpo:
    """Compare each rollout with the others of its prompt, in units of their standard deviation.

        A_i = (r_i - mean(r)) / (std(r) + eps)

    over the group. Nothing here asks for brevity; averaging the loss over each sequence first makes a token of a long
    rollout weigh less. Reference code: verl and TRL (Apache-2.0). Both divide by the sample standard deviation
    (`ddof` 1); verl adds 1e-6, TRL 1e-4; papers write `std` and mean either. Of a lone rollout the formula says 0, as
    TRL does; verl gives it its reward (`lone="reward"`).

    >>> from satisfice.testing import rollouts
    >>> Grpo()(rollouts(correct=[1, 1, 1, 0])).advantage.round(4)
    array([ 0.5,  0.5,  0.5, -1.5])
    """

    card: ClassVar = Card(
        id="grpo", paper="arXiv:2402.03300", where="Sec. 4.1", needs=frozenset(), fidelity="code", ours=("lone",)
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    ddof: Annotated[int, Range(0, 1)] = 1  # of the standard deviation: 1 sample, 0 population
    eps: Annotated[float, Range(1e-12)] = 1e-6  # added to the standard deviation
    lone: Lone = "zero"  # advantage of a group of one
    clip_low: Annotated[float, Range(0, 1)] = 0.2
    clip_high: Annotated[float, Range(0)] = 0.2
    kl: Annotated[float, Range(0)] = 0.001  # verl's recipes; 0: no reference policy is needed
    entropy: Annotated[float, Range(0)] = 0.0  # weight of the entropy bonus
    aggregation: Aggregation = "sequence"  # the paper's; verl's own default is token

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loss(self) -> Loss:
        return Loss(
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            kl=self.kl,
            entropy=self.entropy,
            aggregation=self.aggregation,
        )

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        groups, reward = rollouts.groups, rollouts.reward
        advantage = (reward - groups.mean(reward)) / (groups.std(reward, ddof=self.ddof) + self.eps)
        if self.lone == "reward":
            advantage = np.where(groups.size == 1, reward / (1 + self.eps), advantage)
        return Shaped(advantage=advantage, reward=reward)
