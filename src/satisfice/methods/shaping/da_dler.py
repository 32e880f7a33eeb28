"""Cut the rollouts of easy prompts shorter than those of hard ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import Ints, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State
from satisfice.methods.shaping._caps import over
from satisfice.methods.shaping._whiten import Scope, centre_and_whiten, largest
from satisfice.methods.shaping.dapo import differs
from satisfice.methods.shaping.grpo import Lone


@dataclass(frozen=True, kw_only=True)
class DaDler:
    """Cut the rollouts of easy prompts shorter than those of hard ones: DLER with two caps.

        r_i = c_i [L_i <= cap],    cap = easy_limit if the group's pass rate > threshold, else limit

    then DLER's advantages. For a model that DLER has trained already, for another 150 steps.

    Not in the paper, and ours: rollouts are sampled up to the larger cap and the smaller one is applied afterwards; the
    pass rate is that of the same group under the larger cap; a pass rate at the threshold is hard. A group in which
    nothing is left to tell apart after that is not kept. Advantages are as unbounded as DLER's.
    """

    card: ClassVar = Card(
        id="da-dler",
        paper="arXiv:2510.15110",
        where="difficulty-aware DLER",
        needs=frozenset(),
        fidelity="reconstructed",
        system="dler",
        ours=("lone",),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    easy_limit: Annotated[int, Range(1)] = 2000  # tokens
    limit: Annotated[int, Range(1)] = 4000  # tokens
    threshold: Annotated[float, Range(0, 1)] = 0.5  # pass rate above which a prompt is easy; strict
    scope: Scope = "token"
    ddof: Annotated[int, Range(0, 1)] = 1  # of the batch's variance: 1 sample, 0 population
    lone: Lone = "zero"  # centred reward of a group of one
    clip_high: Annotated[float, Range(0)] = 0.28
    kl: Annotated[float, Range(0)] = 0.0005  # weight of the divergence from the reference policy
    divergence: Literal["k2", "k3"] = "k2"  # k2: half the squared log-ratio (the paper); k3: what the script runs

    def __post_init__(self) -> None:
        check_fields(self)
        if self.easy_limit > self.limit:
            raise BadInput(
                f"da-dler: easy_limit must not exceed limit ({self.limit}), got {self.easy_limit}. Lower it."
            )

    @property
    def loss(self) -> Loss:
        return Loss(clip_high=self.clip_high, dual_clip=10.0, kl=self.kl, kl_kind=self.divergence)

    def cap(self, state: State, prompts: Sequence[str]) -> Ints:
        return np.full(len(prompts), self.limit)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        right = rollouts.correct & ~rollouts.truncated & (rollouts.length <= self.limit)
        easy = rollouts.groups.mean(right) > self.threshold
        caps = np.where(easy, self.easy_limit, self.limit)
        reward = np.where(right & (rollouts.length <= caps), 1.0, 0.0)
        keep = differs(rollouts, reward)
        advantage = centre_and_whiten(rollouts, reward, keep, scope=self.scope, ddof=self.ddof, lone=self.lone)
        shaped = Shaped(advantage=advantage, reward=reward, keep=keep)
        return shaped.noted(
            largest_advantage=largest(advantage),
            easy=float(easy.mean()),
            over_cap=over(rollouts, caps),
            kept=float(keep.mean()),
        )
