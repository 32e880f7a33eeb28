"""Compare each rollout with the mean of its group, and count every token alike."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State


@dataclass(frozen=True, kw_only=True)
class DrGrpo:
    """Compare each rollout with the mean of its group, and count every token alike.

        A_i = r_i - mean(r),    r_i = min(r_i, 0) if the rollout was cut off

    GRPO without its two biases: no division by the standard deviation, which inflates groups that are almost all right
    or all wrong, and no division by the rollout's own length, which makes long wrong rollouts cheap. The token losses
    of a rollout are summed and divided by one `constant`.

    A rollout that was cut off earns nothing even where its answer is right, as in the released actor (its reward is
    set to 0 there; charges that another method puts into the reward stay). `cut_pays=true` leaves the verdict alone.

    Reference code: https://github.com/sail-sg/understand-r1-zero.
    """

    card: ClassVar = Card(
        id="dr-grpo",
        paper="arXiv:2503.20783",
        where="Dr. GRPO",
        needs=frozenset(),
        fidelity="code",
        ours=("clip_low", "clip_high", "kl"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    constant: Annotated[int, Range(1)] | None = None  # tokens; none: the length limit of the trainer, as in the code
    cut_pays: bool = False  # a right rollout that was cut off keeps its reward
    clip_low: Annotated[float, Range(0, 1)] = 0.2
    clip_high: Annotated[float, Range(0)] = 0.2
    kl: Annotated[float, Range(0)] = 0.0  # weight of the divergence from the reference policy

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loss(self) -> Loss:
        return Loss(
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            kl=self.kl,
            aggregation="constant",
            constant=self.constant,
        )

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        reward = rollouts.reward
        if not self.cut_pays:
            reward = np.where(rollouts.truncated, np.minimum(reward, 0.0), reward)
        return Shaped(advantage=reward - rollouts.groups.mean(reward), reward=reward)
