"""Reward short rollouts by where they lie between the shortest and the longest of their group."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Floats, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class KimiLength(ShapesReward):
    """Reward short rollouts by where they lie between the shortest and the longest of their group.

        lam_i = 0.5 - (L_i - min L) / (max L - min L)
        r_i = reward_i + weight * (lam_i if correct else min(0, lam_i))

    over all rollouts of the group, right and wrong; equal lengths give 0. The long half of the right rollouts loses,
    and so does the long half of the wrong ones. The report starts training without the term: begin with `weight` 0.

    Differs from the code (LASER's re-implementation; the authors published none): a group of one has equal lengths
    and gets 0, where that code subtracts the length itself; a rollout without the right form is charged like a
    wrong one.
    """

    card: ClassVar = Card(
        id="kimi-length",
        paper="arXiv:2501.12599",
        where="length reward",
        needs=frozenset(),
        fidelity="second-hand",
        ours=("weight", "advantage"),
    )
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    weight: Annotated[float, Range(0)] = 0.4  # LASER's; the report's is not known
    advantage: Shaper = Grpo()

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        term = rank_reward(rollouts)
        return self.advantage(rollouts.rewarded(rollouts.reward + self.weight * term))


def rank_reward(rollouts: Rollouts) -> Floats:
    """Return the length term of each rollout, from -0.5 to 0.5, [B]."""
    groups, length = rollouts.groups, rollouts.length
    shortest, longest = groups.min(length), groups.max(length)
    place = 0.5 - (length - shortest) / np.maximum(longest - shortest, 1)
    return np.where(longest == shortest, 0.0, np.where(rollouts.correct, place, np.minimum(0.0, place)))
