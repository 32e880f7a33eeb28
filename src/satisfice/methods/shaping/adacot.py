"""Charge thinking where the prompt needs none, and charge its absence where the prompt needs it."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Floats, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping._columns import MODE, NEEDS_THINKING, WELL_FORMED
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class Adacot(ShapesReward):
    """Charge thinking where the prompt needs none, and charge its absence where the prompt needs it.

        R = R_base - miss [needed and absent] - over [not needed and present] - form [malformed]

    Whether a prompt needs thinking is a label given beforehand. The pressure is on how often the model thinks, not on
    how long. In a stage whose data are one-sided (mathematics, say), `mask_decision` leaves out the one token that
    decides between an empty and a full block of thought, so that the choice is not unlearned.

    Differs from the paper: that is PPO with a value head; here the reward is compared within the group. That the
    penalties follow the labels is read from its description.

    >>> from satisfice.testing import rollouts
    >>> Adacot()(rollouts(correct=[1, 1, 0, 1], reward=[0.8, 0.8, 0.5, 0.9], needs_thinking=[1, 0, 1, 0],
    ...                   mode=[1, 1, 0, 0], well_formed=[1, 1, 1, 0])).reward.round(4)
    array([ 0.8,  0.5,  0.3, -0.1])
    """

    card: ClassVar = Card(
        id="adacot",
        paper="arXiv:2505.11896",
        where="reward, selective loss masking",
        needs=frozenset(),
        fidelity="paper",
        system="adacot",
        requires=frozenset({MODE, NEEDS_THINKING, WELL_FORMED}),
        ours=("advantage",),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    miss: Annotated[float, Range(0)] = 0.2  # experiments 1 to 4 of the paper: 0.1, 0.2, 0.3, 0.3
    over: Annotated[float, Range(0)] = 0.3  # 0.3, 0.3, 0.3, 0.1
    form: Annotated[float, Range(0)] = 1.0
    mask_decision: bool = False  # the columns decision_token and mask are needed for it
    advantage: Shaper = Grpo()

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        needed, thinks = rollouts["needs_thinking"] > 0, rollouts["mode"] > 0
        missing, needless = needed & ~thinks, ~needed & thinks
        malformed = rollouts["well_formed"] == 0
        reward = rollouts.reward - self.miss * missing - self.over * needless - self.form * malformed
        shaped = self.advantage(rollouts.rewarded(reward))
        shaped = shaped.noted(
            thinks=float(thinks.mean()), missing=float(missing.mean()), needless=float(needless.mean())
        )
        if not self.mask_decision:
            return shaped
        weight = without_decision(rollouts)
        if shaped.weight is not None:
            weight = (weight.T * shaped.weight.T).T if shaped.weight.ndim == 1 else weight * shaped.weight
        return replace(shaped, weight=weight)


def without_decision(rollouts: Rollouts) -> Floats:
    """Weight 1 for every token but the one that decides whether the rollout thinks, [B, T]."""
    places = np.arange(rollouts["mask"].shape[1])
    weight: Floats = (places != rollouts["decision_token"][:, None]).astype(np.float64)
    return weight
