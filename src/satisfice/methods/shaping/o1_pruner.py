"""Prefer rollouts that are shorter and righter than the reference policy's mean on their prompt."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.core.card import Card
from satisfice.core.engine import random_key
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import Bools, Column, Floats, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State

REFERENCE_LENGTH = Column(
    "reference_length",
    "mean length of the reference policy's responses to this prompt, tokens",
    example=lambda some: np.round(10 + 8000 * some.group),
)
REFERENCE_ACCURACY = Column(
    "reference_accuracy",
    "mean accuracy of the reference policy on this prompt",
    example=lambda some: some.group,
)


@dataclass(frozen=True, kw_only=True)
class O1Pruner:
    """Prefer rollouts that are shorter and righter than the reference policy's mean on their prompt.

        w_i = clip((Lbar - L_i) / L_i + alpha (c_i - abar), low, high),    A = (w - mean(w)) / std(w)

    with Lbar and abar the mean length and accuracy of the reference policy on the prompt; mean and standard deviation
    (population, no eps) over the rollouts that are trained on. On wrong problems only length is left, so short wrong
    rollouts win. The loss clips the ratio of whole sequences, exp(mean_t log p_new - log p_old).

    Reference code: https://github.com/StarDewXXX/O1-Pruner (MIT). It makes a data set once: 12 or 16 rollouts of each
    problem give Lbar and abar, and two of them, drawn at random, are trained on. A trainer that samples anew has no
    reason to throw the others away, so all are trained on here; `used=2` is the code's form. Which ones are used is
    settled by their tokens where the batch has them (`ids`), else by length and verdict. An empty rollout counts as
    one token.
    """

    card: ClassVar = Card(
        id="o1-pruner",
        paper="arXiv:2501.12570",
        where="length-harmonizing reward",
        needs=frozenset(),
        fidelity="paper",
        ours=("used", "reference"),
        optional=frozenset({REFERENCE_LENGTH, REFERENCE_ACCURACY}),
    )
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    alpha: Annotated[float, Range(0)] = 5.0  # weight of accuracy
    low: Annotated[float, Range()] = -2.0
    high: Annotated[float, Range()] = 4.0
    used: Annotated[int, Range(1)] | None = None  # rollouts of a problem that are trained on; none: all; the code: 2
    reference: Literal["group", "columns"] = "group"  # of Lbar and abar: the group itself, or reference_* columns

    def __post_init__(self) -> None:
        check_fields(self)
        if self.low >= self.high:
            raise BadInput(f"o1-pruner: low must be below high ({self.high}), got {self.low}. Lower it.")

    @property
    def loss(self) -> Loss:
        return Loss(ratio="sequence", aggregation="sequence")

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        weight, keep = self.weigh(rollouts), drawn(rollouts, self.used)
        mean, spread = float(weight[keep].mean()), float(weight[keep].std())
        advantage = np.where(keep, (weight - mean) / spread, 0.0) if spread > 1e-12 else np.zeros(len(rollouts))
        return Shaped(advantage=advantage, reward=weight, keep=keep)

    def weigh(self, rollouts: Rollouts) -> Floats:
        """Return the clipped weight of each rollout, [B]."""
        groups = rollouts.groups
        length = np.maximum(rollouts.length, 1)
        by_columns = self.reference == "columns"
        mean_length = rollouts["reference_length"] if by_columns else groups.mean(length)
        accuracy = rollouts["reference_accuracy"] if by_columns else rollouts.accuracy
        weight = (mean_length - length) / length + self.alpha * (rollouts.correct - accuracy)
        return np.clip(weight, self.low, self.high)


def drawn(rollouts: Rollouts, used: int | None) -> Bools:
    """Return which rows are trained on, [B]: `used` of each group, drawn by what the rollouts are; None: all.

    The order of rows does not matter, and the same rollouts give the same choice.
    """
    keep = np.ones(len(rollouts), np.bool_)
    if used is None:
        return keep
    ids = rollouts.tokens.get("ids")
    for rows in rollouts.groups:
        named = {
            int(row): random_key("o1-pruner", int(rollouts.length[row]), bool(rollouts.correct[row]),
                                 [] if ids is None else ids[row].tolist())
            for row in rows
        }  # fmt: skip
        keep[sorted(named, key=named.__getitem__)[used:]] = False
    return keep
