"""A shaper of a stranger's, with a term of the loss that reads a column of its own."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from satisfice.core.arrays import constant
from satisfice.core.card import Card
from satisfice.core.loss_term import Added, PolicyLoss, Tokens
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State


@dataclass(frozen=True, kw_only=True)
class Likelier:
    """Make sampled tokens likelier, each as much as its rollout is long."""

    weight: float
    reads: ClassVar = frozenset({"tokens"})

    def __call__(self, part: Tokens, policy: PolicyLoss) -> Added:
        tokens = part.columns["tokens"][:, None]
        total = -self.weight * (part.plain_share * tokens * policy.change).sum()
        return Added(total=total, metrics={"held": float(constant((part.plain_share * tokens).sum()))})


@dataclass(frozen=True, kw_only=True)
class Held:
    """No advantage, only the term."""

    card: ClassVar = Card(id="held", paper="", where="here", needs=frozenset(), fidelity="standard")
    pressure: ClassVar = Pressure(wrong=False, all_right=False)
    weight: float = 1.0

    @property
    def loss(self) -> Loss:
        return Loss(terms=(Likelier(weight=self.weight),))

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        nothing: Any = np.zeros(len(rollouts))
        return Shaped(advantage=nothing, reward=nothing, columns={"tokens": rollouts.length.astype(np.float64)})
