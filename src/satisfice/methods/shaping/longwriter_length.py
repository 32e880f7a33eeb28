"""Reward texts whose length lies where the query wants it, beside quality and form."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import Column, Floats, Groups, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State
from satisfice.methods.shaping._columns import REPETITIVE, SCORE, WELL_FORMED

WORDS = Column(
    "words",
    "words of the answer",
    example=lambda some: np.round(some.length * some.share),
    grows=True,
)
SHORTEST = Column(
    "shortest",
    "lower end of the length that is wanted, words",
    example=lambda some: np.round((10 + 8000 * some.group) / 2),
)
LONGEST = Column(
    "longest",
    "upper end of the length that is wanted, words",
    example=lambda some: np.round(10 + 8000 * some.group),
)

Scale = Literal["largest", "range"]


@dataclass(frozen=True, kw_only=True)
class LongwriterLength:
    """Reward texts whose length lies where the query wants it, beside quality and form.

        r_len = 1 inside [lo, hi], len / lo below, (limit - len) / (limit - hi) above    (words)
        A = (A_len + A_quality + A_form) / 3,    each compared within the group and scaled to [-1, 1]

    It presses both ways, and correctness is not read. Form is 1 for a text that is well formed and does not go in
    circles, else 0. How the three are scaled is told in words only: here each deviation from the group's mean is
    divided by the largest one (a preceding division by the standard deviation would cancel); `scale=range` puts the
    smallest at -1 and the largest at 1. A component that is the same for the whole group gives 0.
    """

    card: ClassVar = Card(
        id="longwriter-length",
        paper="arXiv:2506.18841",
        where="length reward, advantage mixing",
        needs=frozenset(),
        fidelity="second-hand",
        system="longwriter-zero",
        requires=frozenset({WORDS, SHORTEST, LONGEST, SCORE, WELL_FORMED, REPETITIVE}),
        ours=("limit", "scale", "clip"),
    )
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    limit: Annotated[int, Range(1)] = 10_000  # words; the paper's runs may sample 14,000 tokens
    scale: Scale = "largest"
    clip: bool = False  # hold the length reward at 0 beyond the limit, where the formula goes below

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loss(self) -> Loss:
        return Loss(aggregation="sequence")

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        length = length_reward(rollouts["words"], rollouts["shortest"], rollouts["longest"], self.limit)
        if self.clip:
            length = np.maximum(length, 0.0)
        form = (rollouts["well_formed"] > 0) & (rollouts["repetitive"] == 0) & ~rollouts.truncated
        parts = [length, np.asarray(rollouts["score"], dtype=np.float64), form.astype(np.float64)]
        advantage = np.mean([scaled(rollouts.groups, part, self.scale) for part in parts], axis=0)
        return Shaped(advantage=advantage, reward=np.mean(parts, axis=0)).noted(length_reward=float(length.mean()))


def length_reward(words: ArrayLike, shortest: ArrayLike, longest: ArrayLike, limit: float) -> Floats:
    """Return what a number of words earns: 1 inside the interval, less outside, below 0 beyond the limit.

    >>> length_reward([500, 1000, 1500], 800, 1200, 2000)
    array([0.625, 1.   , 0.625])
    """
    n, low, high = (np.asarray(values, dtype=np.float64) for values in (words, shortest, longest))
    room = np.maximum(limit - high, 1.0)  # an interval that reaches the limit leaves one word of room
    return np.where(n < low, n / np.maximum(low, 1.0), np.where(n > high, (limit - n) / room, 1.0))


def scaled(groups: Groups, values: ArrayLike, scale: Scale = "largest") -> Floats:
    """Values compared within their group, from -1 to 1; 0 in a group where all are the same.

    >>> scaled(Groups([0, 0, 0, 1]), [1.0, 0.0, 0.5, 9.0]), scaled(Groups([0, 0, 0]), [4.0, 0.0, 0.5])
    (array([ 1., -1.,  0.,  0.]), array([ 1. , -0.6, -0.4]))
    """
    x = np.asarray(values, dtype=np.float64)
    low, high = groups.min(x), groups.max(x)
    same = high == low
    if scale == "range":
        return np.where(same, 0.0, 2 * (x - low) / np.where(same, 1.0, high - low) - 1)
    away = x - groups.mean(x)
    return np.where(same, 0.0, away / np.where(same, 1.0, groups.max(np.abs(away))))
