"""Teach one model several degrees of brevity, each asked for by the prompt."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.engine import random_key
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range
from satisfice.core.rollouts import Column, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State, check_advantage
from satisfice.methods.shaping.grpo import Grpo

LEVEL = Column(
    "level",
    "how verbose the prompt asked to be: 0 short, 1 moderate, 2 long",
    example=lambda some: np.floor(3 * some.group),
)
WORDS = ("Think briefly.", "Think at moderate length.", "Think at length.")
"""What the prompt says at each level."""


@dataclass(frozen=True, kw_only=True)
class Tldr(ShapesReward):
    """Teach one model several degrees of brevity, each asked for by the prompt.

        r_i = c_i - a_level L_i / L_ref,    a_short > a_moderate > a_long >= 0

    The structure (GRPO, a penalty of its own for each level that the prompt names) is the paper's; the penalty's exact
    form is not known to us, the linear one is ours. So is whether wrong rollouts are charged: they are, as the plain
    formula says, and then the shortest of a group without a right one wins. `charge_wrong=false` spares them.

    Trainers put the level into the prompt, in words of ours: the problem's own (`level` in its metadata), or one drawn
    for each prompt, once and for all.
    """

    card: ClassVar = Card(
        id="tldr",
        paper="arXiv:2505.07961",
        where="TLDR: trace length control",
        needs=frozenset(),
        fidelity="reconstructed",
        system="ts-tldr",
        ours=("short", "moderate", "long", "reference", "charge_wrong", "advantage"),
        requires=frozenset({LEVEL}),
    )
    asks: ClassVar = "level"

    short: Annotated[float, Range(0)] = 0.3  # a: reward lost at the reference length, level 0
    moderate: Annotated[float, Range(0)] = 0.1  # level 1
    long: Annotated[float, Range(0)] = 0.0  # level 2
    reference: Annotated[int, Range(1)] = 4000  # L_ref, tokens
    charge_wrong: bool = True
    advantage: Shaper = Grpo()

    def __post_init__(self) -> None:
        check_advantage(self)
        if not self.short >= self.moderate >= self.long:
            raise BadInput(
                "tldr: short, moderate and long must not rise, "
                f"got {self.short}, {self.moderate}, {self.long}. Charge shorter levels more."
            )

    @property
    def pressure(self) -> Pressure:
        return Pressure(wrong=self.charge_wrong, all_right=True)

    def requested(self, state: State, prompt: str, given: float | None) -> float:
        return float(random_key("level", prompt) % len(WORDS)) if given is None else given

    def suffix(self, value: float) -> str:
        if value not in (0, 1, 2):
            raise BadInput(f"tldr: level must be 0 (short), 1 (moderate) or 2 (long), got {value:g}. Correct the data.")
        return WORDS[int(value)]

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        level = rollouts["level"].astype(np.int64)
        if not np.isin(rollouts["level"], (0, 1, 2)).all():
            raise BadInput("tldr: level must be 0 (short), 1 (moderate) or 2 (long). Correct the batch.")
        rate = np.array([self.short, self.moderate, self.long])[level]
        charged = np.where(rollouts.correct | self.charge_wrong, rate * rollouts.length / self.reference, 0.0)
        return self.advantage(rollouts.rewarded(rollouts.correct - charged))
