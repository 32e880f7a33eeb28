"""Reward form and length in place of right answers, where nobody knows what is right."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Floats, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping._columns import ANSWER_FOUND, THINKING_CLOSED
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class FormatLengthSurrogate(ShapesReward):
    """Reward form and length in place of right answers, where nobody knows what is right.

        x = L / limit,    R_len = 1 - (1 - x / p)^2 up to p, then 1 - 2 ((x - p) / (1 - p))^2
        r = (thinking closed + answer found) / 2 + R_len if an answer was found, else min(0, R_len)

    The verdict is not read. Rollouts shorter than p limit earn less, so this aims at a length rather than at brevity;
    beyond the limit the reward goes on falling. Reference code: https://github.com/insightLLM/rl-without-gt (MIT).
    Rewards were held against what its reward function gives on 1,000 random rollouts; its way to find an answer in a
    text was not, since that comes with the rollouts here.
    """

    card: ClassVar = Card(
        id="format-length-surrogate",
        paper="arXiv:2505.19439",
        where="official code",
        needs=frozenset(),
        fidelity="code",
        system="format-length-rl",
        requires=frozenset({THINKING_CLOSED, ANSWER_FOUND}),
    )
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    turn: Annotated[float, Range(1e-6, 1 - 1e-6)] = 0.5  # p, share of the limit; 0.25 is the function's own default
    limit: Annotated[int, Range(1)] = 3072  # tokens; 4096 is the function's own default
    advantage: Shaper = Grpo()

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        found = np.asarray(rollouts["answer_found"], dtype=np.bool_)
        form = 0.5 * (rollouts["thinking_closed"] + found.astype(np.float64))
        length = length_reward(rollouts.length, self.limit, self.turn)
        return self.advantage(rollouts.rewarded(np.where(found, form + length, np.minimum(0.0, length))))


def length_reward(length: ArrayLike, limit: int, turn: float = 0.5) -> Floats:
    """Return what a length earns, both in tokens: 1 at `turn` of the limit, -1 at the limit, 0 for nothing.

    >>> length_reward([768, 1536, 2500, 400, 3072], 3072).round(4)
    array([ 0.75  ,  1.    ,  0.2122,  0.453 , -1.    ])
    """
    x = np.asarray(length, dtype=np.float64) / limit
    return np.where(x <= turn, 1 - (1 - x / turn) ** 2, 1 - 2 * ((x - turn) / (1 - turn)) ** 2)
