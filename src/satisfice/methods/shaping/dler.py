"""Cut rollouts hard at a length, and let the rest of the recipe cope with what that does to the rewards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import Ints, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State
from satisfice.methods.shaping._caps import over
from satisfice.methods.shaping._whiten import Scope, centre_and_whiten, largest
from satisfice.methods.shaping.dapo import differs
from satisfice.methods.shaping.grpo import Lone


@dataclass(frozen=True, kw_only=True)
class Dler:
    """Cut rollouts hard at a length; batch-wide normalisation and fresh prompts make that simplest penalty work.

        r_i = c_i if the rollout ends within the cap, else 0
        a_i = r_i - mean_group(r),    A_i = (a_i - mean_batch(a)) / std_batch(a)

    Groups in which all verdicts are the same are not kept, to be replaced by other prompts. A clip that leaves room
    upwards and a mean over all tokens go with it.

    As in the released training code (https://github.com/NVlabs/DLER, non-commercial; nothing of it is used here) the
    batch's statistics count tokens: long rollouts weigh more. `scope="sequence"` counts rollouts. Groups are kept by
    their verdicts before the cap, as there. Nothing bounds the advantages, here or there: in a batch in which one
    rollout has nearly all tokens (lengths 20000, 1, 2, 3) the others' reach 100, which the trainers warn of; the
    loss bounds what bad tokens can do by its dual clip.

    Differs from the code: that pays a right rollout that was cut 0.1 (`cut_pay=0.1`), gives a lone rollout its reward
    (`lone="reward"`), leaves the kind of divergence to verl's default (`divergence=k3`) where the paper says k2, and
    adds 0.1 to the advantages of right rollouts after the whitening (`right_gain=0.1`); the paper does not.
    """

    card: ClassVar = Card(
        id="dler",
        paper="arXiv:2510.15110",
        where="training recipe",
        needs=frozenset(),
        fidelity="paper",
        system="dler",
        ours=("lone",),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    limit: Annotated[int, Range(1)] = 4000  # the cap, tokens
    cut_pay: Annotated[float, Range(0, 1)] = 0.0  # share of the reward that a right rollout beyond the cap gets
    scope: Scope = "token"
    ddof: Annotated[int, Range(0, 1)] = 1  # of the batch's variance: 1 sample, 0 population
    right_gain: Annotated[float, Range(0)] = 0.0  # added to the advantage of right rollouts that ended; 0.1 in the code
    lone: Lone = "zero"  # centred reward of a group of one
    clip_high: Annotated[float, Range(0)] = 0.28  # 0.36 for the 8B model
    kl: Annotated[float, Range(0)] = 0.0005  # weight of the divergence from the reference policy
    divergence: Literal["k2", "k3"] = "k2"  # k2: half the squared log-ratio (the paper); k3: what the script runs

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loss(self) -> Loss:
        return Loss(clip_high=self.clip_high, dual_clip=10.0, kl=self.kl, kl_kind=self.divergence)

    def cap(self, state: State, prompts: Sequence[str]) -> Ints:
        return np.full(len(prompts), self.limit)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        ended = ~rollouts.truncated & (rollouts.length <= self.limit)
        reward = np.where(rollouts.correct, np.where(ended, 1.0, self.cut_pay), 0.0)
        keep = differs(rollouts, rollouts.correct)
        advantage = centre_and_whiten(rollouts, reward, keep, scope=self.scope, ddof=self.ddof, lone=self.lone)
        advantage = advantage + self.right_gain * (keep & rollouts.correct & ended)
        shaped = Shaped(advantage=advantage, reward=reward, keep=keep)
        return shaped.noted(
            largest_advantage=largest(advantage), over_cap=over(rollouts, self.limit), kept=float(keep.mean())
        )
