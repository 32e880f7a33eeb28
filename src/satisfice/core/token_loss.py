"""Token losses: which tokens of training data count, by what the model that is being trained thinks of them.

A token loss is any frozen, hashable object with a `card` that can be called as `TokenLoss` says. It is numpy and knows
no trainer: `satisfice train --data ... --token-loss ent` multiplies the cross-entropy of each token by its weight.
"""

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from satisfice.core.card import Card
from satisfice.core.method import Kind

Floats = NDArray[np.float64]


class TokenLoss(Protocol):
    """Says what each token of a batch weighs, from 0 to 1.

    `error` is `[n]`, of the tokens that are trained on: the L2 distance between the model's next-token distribution and
    the token itself, from 0 to sqrt 2. `step` counts updates from 0; before `begin` of them every token counts, since a
    model that knows nothing cannot tell noise. A token's weight may depend on the others'.
    """

    card: ClassVar[Card]

    @property
    def begin(self) -> int:
        """Updates before the first token may weigh less than another."""
        ...

    def __call__(self, error: Floats, step: int, /) -> Floats: ...


TOKEN_LOSS: Kind[TokenLoss] = Kind(
    name="token loss",
    protocol=TokenLoss,
    example="ent, ent(threshold=1.3)",
    about="A token loss is called with error norms and a step, `loss(error, step)`, and returns a weight per token.",
    battery="satisfice.testing.token_losses:check_token_loss",
)


def error_norm(probabilities: Floats, token: int) -> float:
    """Return the distance between a next-token distribution and the token that came.

        e^2 = || p - onehot(y) ||^2 = sum_k p_k^2 - 2 p_y + 1

    >>> flat, wrong, right = [0.2] * 5, [0.02, 0.95, 0.01, 0.01, 0.01], [0.9, 0.025, 0.025, 0.025, 0.025]
    >>> [round(error_norm(np.array(p), 0), 3) for p in (flat, wrong, right)]
    [0.894, 1.365, 0.112]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    return float(np.sqrt(max(0.0, (p**2).sum() - 2 * p[token] + 1)))
