"""Charge steps of thinking rather than tokens."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Column, Floats, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping.grpo import Grpo

STEP_COUNT = Column(
    "step_count",
    "steps of the rollout's thinking: paragraphs that are not empty",
    example=lambda some: 1 + some.length // 100,
    grows=True,
)


@dataclass(frozen=True, kw_only=True)
class StepPruner(ShapesReward):
    """Charge steps of thinking rather than tokens: those beyond the fewest that a right rollout of the group needed.

        r_i = c_i - beta max(0, S_i - S*),    S* = min_{j right} S_j

    with S the number of paragraphs. Wrong rollouts are charged for their excess too, but gain nothing by being short;
    in a group without a right one all get 0. Which rollouts are charged, and against what, is the paper's; the size,
    shape and bound of the charge are ours. The paper also stops training when the mean length no longer falls, since
    the model then merges steps: watch `length` of the batch.
    """

    card: ClassVar = Card(
        id="step-pruner",
        paper="arXiv:2510.03805",
        where="step-aware reward",
        needs=frozenset(),
        fidelity="reconstructed",
        system="step-pruner",
        ours=("beta", "norm", "bound", "advantage"),
        requires=frozenset({STEP_COUNT}),
    )
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    beta: Annotated[float, Range(0)] = 0.01  # reward per step of excess
    norm: Literal["none", "shortest"] = "none"  # what excess is divided by: nothing, or S*
    bound: Annotated[float, Range(0)] | None = None  # the charge is never more; none: no bound
    advantage: Shaper = Grpo()

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        return self.advantage(rollouts.rewarded(rollouts.correct - self.charge(rollouts)))

    def charge(self, rollouts: Rollouts) -> Floats:
        """Return what each rollout loses, [B]."""
        steps, groups = rollouts["step_count"], rollouts.groups
        fewest = groups.min(steps, rollouts.correct)
        excess = np.where(groups.any(rollouts.correct), np.maximum(steps - fewest, 0.0), 0.0)
        charge = self.beta * (excess / np.maximum(fewest, 1.0) if self.norm == "shortest" else excess)
        return charge if self.bound is None else np.minimum(charge, self.bound)


def count_steps(text: str) -> int:
    r"""Steps of a thinking text: paragraphs between blank lines, empty ones not counted.

    >>> count_steps("First.\n\nThen this\nand that.\n\n \n\nDone.")
    3
    """
    return sum(bool(part.strip()) for part in text.split("\n\n"))
