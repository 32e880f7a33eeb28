"""What every token loss must be able to do, checked on small batches."""

import numpy as np

from satisfice.core.token_loss import TokenLoss
from satisfice.testing.method import claim


def check_token_loss(loss: TokenLoss) -> None:
    """Check what a token loss does.

    Raises:
        Faulty: not one weight from 0 to 1 for each token, weights that change from call to call or with the order of
            the tokens, or that leave nothing of a batch to learn from.
    """
    rng = np.random.default_rng(0)
    for where, error in (
        ("no token", np.zeros(0)), ("one token", np.array([1.0])), ("all the same", np.full(5, 1.4)),
        ("all noise", np.full(4, np.sqrt(2))), ("random", rng.random(60) * np.sqrt(2)),
    ):  # fmt: skip
        for step in (0, 1, 1000):
            weights = loss(error, step)
            claim(
                step >= loss.begin or bool((weights == 1).all()), loss, f"begins before {loss.begin} updates ({where})"
            )
            claim(weights.shape == error.shape, loss, f"gives {weights.shape} weights for {error.shape} ({where})")
            claim(bool(((weights >= 0) & (weights <= 1)).all()), loss, f"gives weights beyond 0 and 1 ({where})")
            claim(bool((weights == loss(error, step)).all()), loss, f"is not deterministic ({where})")
            order = rng.permutation(len(error))
            claim(bool((weights[order] == loss(error[order], step)).all()), loss, f"depends on the order ({where})")
            claim(not len(error) or bool(weights.any()), loss, f"leaves nothing to learn from ({where})")
