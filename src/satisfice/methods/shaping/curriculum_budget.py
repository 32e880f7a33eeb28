"""Reward rollouts near a token budget that shrinks as training goes on."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import Floats, Rollouts
from satisfice.core.shaper import STATELESS, CountsSteps, Loss, Pressure, Shaped, State
from satisfice.methods.shaping._columns import ANSWER_FOUND, THINKING_CLOSED

Shape = Literal["triangle", "band"]


@dataclass(frozen=True, kw_only=True)
class CurriculumBudget(CountsSteps):
    """Reward rollouts near a token budget that shrinks as training goes on.

    The prompt states the budget of the step, `budget(state)`, and the reward pays for keeping to it. Trainers put it
    there; the words are ours.

        B(t) = max(1, start decay^floor(t / interval))
        r_i = w_c c_i + w_l len(L_i) + w_f fmt_i,    len(L) = L / B up to B, 1 - (L - B) / B up to 2 B, then 0
        A_i = (r_i - mean r) / sqrt(var r + eps)     (population variance, eps inside the root)

    A `band` gives all lengths up to the budget 1. Length and form pay whether or not the answer is right: a wrong
    rollout exactly at the budget earns w_l. The three weights that the paper calls length-heavy are 0.3, 0.6 and 0.1.

    Differs from the paper: the budget stays after `drops` drops, where the formula as printed would go on past the
    600 steps that it is used for. `schedule=linear` falls to the same last budget in equal drops.

    >>> [round(CurriculumBudget().budget({"step": step}), 1) for step in (0, 150, 300, 450, 900)]
    [256.0, 179.2, 125.4, 87.8, 87.8]
    """

    card: ClassVar = Card(
        id="curriculum-budget",
        paper="arXiv:2508.08940",
        where="curriculum, length reward",
        needs=frozenset(),
        fidelity="paper",
        system="curriculum-grpo",
        requires=frozenset({THINKING_CLOSED, ANSWER_FOUND}),
        ours=("form_weight", "eps", "kl"),
    )
    asks: ClassVar = "budget"
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    start: Annotated[float, Range(1)] = 256.0  # tokens
    decay: Annotated[float, Range(1e-6, 1)] = 0.7  # factor of each drop
    interval: Annotated[int, Range(1)] = 150  # steps between drops
    drops: Annotated[int, Range(0)] = 3
    schedule: Literal["exponential", "linear"] = "exponential"
    shape: Shape = "triangle"
    right_weight: Annotated[float, Range(0)] = 0.6  # w_c
    length_weight: Annotated[float, Range(0)] = 0.3  # w_l
    form_weight: Annotated[float, Range(0)] = 0.1  # w_f: half for the thinking's tags, half for the answer's
    eps: Annotated[float, Range(1e-12)] = 1e-6  # added to the variance
    kl: Annotated[float, Range(0)] = 0.001  # the paper has the term; its weight is not given

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loss(self) -> Loss:
        return Loss(ratio="sequence", aggregation="sequence", kl=self.kl)

    def budget(self, state: State = STATELESS) -> float:
        """Return tokens that the prompts of this step ask for."""
        n = min(int((state or self.init())["step"]) // self.interval, self.drops)
        if self.schedule == "exponential":
            return max(1.0, self.start * self.decay**n)
        last = self.start * self.decay**self.drops
        return max(1.0, self.start - (self.start - last) * n / max(self.drops, 1))

    def requested(self, state: State, prompt: str, given: float | None) -> float:
        return float(math.floor(self.budget(state)))

    def suffix(self, value: float) -> str:
        return f"Use at most {value:g} tokens."

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        budget, groups = self.budget(state), rollouts.groups
        form = 0.5 * rollouts["thinking_closed"] + 0.5 * rollouts["answer_found"]
        near = length_reward(rollouts.length, budget, self.shape)
        reward = self.right_weight * rollouts.correct + self.length_weight * near + self.form_weight * form
        spread = np.sqrt(groups.std(reward, ddof=0) ** 2 + self.eps)
        return Shaped(advantage=(reward - groups.mean(reward)) / spread, reward=reward).noted(budget=budget)


def length_reward(length: ArrayLike, budget: float, shape: Shape = "triangle") -> Floats:
    """Return what a length earns under a budget, both in tokens: 1 at the budget, 0 from twice the budget on.

    >>> length_reward([40, 87, 130, 200], 87).round(4)
    array([0.4598, 1.    , 0.5057, 0.    ])
    """
    share = np.asarray(length, dtype=np.float64) / budget
    return np.clip(np.where(share > 1, 2 - share, share if shape == "triangle" else 1.0), 0.0, 1.0)
