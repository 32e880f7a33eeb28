"""Prefer rollouts that are shorter and righter than the reference policy's mean on their prompt."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import Floats, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State


@dataclass(frozen=True, kw_only=True)
class O1Pruner:
    """Prefer rollouts that are shorter and righter than the reference policy's mean on their prompt.

        w_i = clip((Lbar - L_i) / L_i + alpha (c_i - abar), low, high),    A = (w - mean(w)) / std(w)

    with Lbar and abar the mean length and accuracy of the reference policy on the prompt; mean and standard deviation
    (population, no eps) over all rows. Made for an offline data set: sample `samples` rollouts of each problem, shape
    them as one batch, train on some of them. On wrong problems only length is left, so short wrong rollouts win.

    The loss clips the ratio of whole sequences, exp(mean_t log p_new - log p_old).

    Reference code: https://github.com/StarDewXXX/O1-Pruner (MIT). An empty rollout counts as one token.
    """

    card: ClassVar = Card(
        id="o1-pruner", paper="arXiv:2501.12570", where="length-harmonizing reward", needs=frozenset(), fidelity="code"
    )
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    alpha: Annotated[float, Range(0)] = 5.0  # weight of accuracy
    low: Annotated[float, Range()] = -2.0
    high: Annotated[float, Range()] = 4.0
    samples: Annotated[int, Range(1)] = 12  # K: reference samples a problem, in the code
    reference: Literal["group", "columns"] = "group"  # of Lbar and abar: the group itself, or reference_* columns

    def __post_init__(self) -> None:
        check_fields(self)
        if self.low >= self.high:
            raise BadInput(f"o1-pruner: low must be below high ({self.high}), got {self.low}. Lower it.")

    @property
    def loss(self) -> Loss:
        return Loss(ratio="sequence", aggregation="sequence")

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        weight = self.weigh(rollouts)
        spread = float(weight.std())
        advantage = (weight - weight.mean()) / spread if spread > 1e-12 else np.zeros(len(rollouts))
        return Shaped(advantage=advantage, reward=weight)

    def weigh(self, rollouts: Rollouts) -> Floats:
        """The clipped weight of each rollout, [B]."""
        groups = rollouts.groups
        length = np.maximum(rollouts.length, 1)
        by_columns = self.reference == "columns"
        mean_length = rollouts["reference_length"] if by_columns else groups.mean(length)
        accuracy = rollouts["reference_accuracy"] if by_columns else rollouts.accuracy
        weight = (mean_length - length) / length + self.alpha * (rollouts.correct - accuracy)
        return np.clip(weight, self.low, self.high)
