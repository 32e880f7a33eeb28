"""Keep easy prompts in the mix: their short right answers teach brevity without any term for length."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Bools, Column, Ints, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping.grpo import Grpo

PASS_RATE = Column(
    "pass_rate",
    "share of right rollouts of the base model on this prompt, estimated before training",
    example=lambda some: np.round(16 * some.group) / 16,
)


@dataclass(frozen=True, kw_only=True)
class Frugal(ShapesReward):
    """Keep easy prompts in the mix: their short right answers teach brevity without any term for length.

        keep a prompt if p(q) < 1,    r_i = c_i

    with p(q) the base model's pass rate, from 16 rollouts before training. Most recipes drop easy prompts; here only
    those that are always solved go, and prompts that never are stay. A hard cap cuts what runs long. What makes it work
    is the mixture, skewed towards prompts of moderate ease: pick the prompts with `wanted` before training; rows of
    unwanted prompts in a batch are not kept. The paper gives no formula for weights, so there are none.
    """

    card: ClassVar = Card(
        id="frugal",
        paper="arXiv:2511.01937",
        where="stage 1",
        needs=frozenset(),
        fidelity="paper",
        system="frugal-rlvr",
        requires=frozenset({PASS_RATE}),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    limit: Annotated[int, Range(1)] = 16384  # the cap, tokens
    advantage: Shaper = Grpo(clip_high=0.28, kl=0.0, aggregation="token")

    def cap(self, state: State, prompts: Sequence[str]) -> Ints:
        return np.full(len(prompts), self.limit)

    def wanted(self, pass_rate: ArrayLike) -> Bools:
        """Return which prompts to train on, by their pass rates under the base model.

        >>> Frugal().wanted([1, 0.94, 0.5, 0.06, 0]).tolist()
        [False, True, True, True, True]
        """
        return np.asarray(pass_rate, dtype=np.float64) < 1

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        keep = self.wanted(rollouts["pass_rate"])
        shaped = self.advantage(rollouts.rewarded(rollouts.correct))
        return shaped.keeping(keep).noted(kept=float(keep.mean()))


def efficiency_adjusted_accuracy(
    accuracy: float, length: float, *, shortest: float, longest: float, gamma: float = 3.0
) -> float:
    """The paper's measure: accuracy, discounted by where the mean length lies between those of the models compared.

        EAA = accuracy exp(-gamma (L - L_min) / (L_max - L_min))

    It depends on who is compared; equal lengths are not discounted.

    >>> round(efficiency_adjusted_accuracy(73.33, 21090.1, shortest=9367.67, longest=23349), 4)
    5.9279
    """
    span = longest - shortest
    return accuracy * math.exp(-gamma * (length - shortest) / span) if span > 0 else accuracy
