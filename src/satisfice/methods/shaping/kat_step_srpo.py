"""Judge the choice of whether to think apart from the answer, each on its own tokens."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import MASK, Column, Floats, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping._columns import MODE, NEEDS_THINKING
from satisfice.methods.shaping.grpo import Grpo

DECISION_TOKEN = Column(
    "decision_token",
    "number of the token that settles whether the rollout thinks, counted from 0; -1: none",
    example=lambda some: np.where(some.length > 0, 0, -1),
)


@dataclass(frozen=True, kw_only=True)
class KatStepSrpo(ShapesReward):
    """Judge the choice of whether to think apart from the answer, each on its own tokens.

        r_choice = [the mode is the one that the prompt is labelled with],    r_answer = reward
        A[i,t] = A_choice,i on the token that settles the mode, A_answer,i on all others

    each compared within the group by itself, so that a right answer in the wrong mode does not reward the mode. The
    label comes from the majority over both modes before the training. What the technical report
    establishes is that mode and answer are both supervised; the two rewards and how they meet are ours.
    """

    card: ClassVar = Card(
        id="kat-step-srpo",
        paper="arXiv:2507.08297",
        where="Step-SRPO",
        needs=frozenset(),
        fidelity="reconstructed",
        system="kat-v1",
        requires=frozenset({DECISION_TOKEN, MASK, MODE, NEEDS_THINKING}),
        ours=("choice", "advantage"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    choice: Annotated[float, Range(0)] = 1.0  # weight of the choice's advantage
    advantage: Shaper = Grpo()

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        thinks, mask = rollouts["mode"] > 0, np.asarray(rollouts["mask"], dtype=np.bool_)
        fits = thinks == (rollouts["needs_thinking"] > 0)
        choice = self.advantage(rollouts.rewarded(fits.astype(np.float64)))
        answer = self.advantage(rollouts)
        here = np.arange(mask.shape[1]) == rollouts["decision_token"][:, None]
        apart = np.where(here, self.choice * _wide(choice.advantage), _wide(answer.advantage))
        shaped = Shaped(advantage=np.where(mask, apart, 0.0), reward=answer.reward, keep=answer.keep | choice.keep)
        return shaped.noted(fits=float(fits.mean()), thinks=float(thinks.mean()))


def _wide(values: Floats) -> Floats:
    return values if values.ndim == 2 else values[:, None]
