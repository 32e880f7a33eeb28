"""Pay right answers extra for concise reasoning, as a reward model sees it."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Floats, Rollouts
from satisfice.core.shaper import STATELESS, CountsSteps, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping._columns import SCORE
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class CrmCrf(ShapesReward, CountsSteps):
    """Pay right answers extra for concise reasoning, as a reward model sees it.

        R_i = R^o_i (1 + alpha C_i (s + d_q)),    d_q = exp(n_right / G)

    R^o is the reward of the outcome, C_i in [0.1, 1] the conciseness score, d_q weighs easy prompts more. As a product,
    a wrong answer never earns anything by being concise. `s` depends on how far training has come: here it goes in a
    straight line from `anneal` to `anneal_end`; neither its course nor alpha is known to us.
    """

    card: ClassVar = Card(
        id="crm-crf",
        paper="arXiv:2511.09158",
        where="conciseness reward function",
        needs=frozenset(),
        fidelity="second-hand",
        system="crm-crf",
        requires=frozenset({SCORE}),
        ours=("alpha", "anneal", "anneal_end", "anneal_steps", "advantage"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)  # conciseness is judged, not counted

    alpha: Annotated[float, Range(0)] = 0.5
    anneal: Annotated[float, Range(0)] = 1.0  # s at the first step
    anneal_end: Annotated[float, Range(0)] = 0.0  # s from `anneal_steps` on
    anneal_steps: Annotated[int, Range(1)] = 500
    advantage: Shaper = Grpo()

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        done = min((state or self.init())["step"] / self.anneal_steps, 1.0)
        s = self.anneal + (self.anneal_end - self.anneal) * done
        return self.advantage(rollouts.rewarded(concise_reward(rollouts, self.alpha, s))).noted(anneal=s)


def concise_reward(rollouts: Rollouts, alpha: float, s: float) -> Floats:
    """Return the reward of each rollout at annealing coefficient `s`, [B]; 0 where the outcome earns 0.

    >>> from satisfice.testing import rollouts
    >>> concise_reward(rollouts(correct=[1, 1, 0, 1], score=[0.9, 0.4, 0.9, 0.6]), 0.5, 0.5).round(4)
    array([2.1777, 1.5234, 0.    , 1.7851])
    """
    outcome = np.where(rollouts.truncated, 0.0, rollouts.reward)
    ease = np.exp(rollouts.groups.mean(rollouts.correct & ~rollouts.truncated))
    return outcome * (1 + alpha * rollouts["score"] * (s + ease))
