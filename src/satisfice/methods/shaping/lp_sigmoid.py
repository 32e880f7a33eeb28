"""Pay right rollouts a little less the longer they are among the right ones of their prompt."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Bools, Floats, Rollouts
from satisfice.core.shaper import DIVERGENCE, STATELESS, Loss, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping.rloo import Rloo


@dataclass(frozen=True, kw_only=True)
class LpSigmoid(ShapesReward):
    """Pay right rollouts a little less the longer they are among the right ones of their prompt.

        r_i = c_i (1 - alpha sigmoid((L_i - mu) / (s + eps)))

    with mu and s the mean and standard deviation of the lengths of the right rollouts of the group. Wrong rollouts get
    0 whatever their length; a right one keeps at least 1 - alpha. One right rollout, or equal lengths, gives
    1 - alpha / 2. A rollout that was cut off counts as wrong, as in the authors' scripts.

    The reward is that of the code, https://github.com/Zanette-Labs/efficient-reasoning (Apache-2.0; population standard
    deviation). What its authors train with does more to the advantages; `form=code` does the same:

        R_it = A_i - kl sum_{t' >= t} (log p - log p_ref)_it',    A_it = (R_it - mean R) / sqrt(var R)

    with A_i of `advantage`, and the mean and population variance over all tokens of the batch, at least 1e-8; the loss
    is the mean over rollouts of their token means, and the divergence acts through the reward alone. The default,
    `form=plain`, leaves the whitening out: over tokens it shifts each advantage by what long rollouts got, so that in a
    batch of long wrong rollouts even a rollout that is below its group's mean can be pushed up.
    """

    card: ClassVar = Card(
        id="lp-sigmoid", paper="arXiv:2502.04463", where="length penalty", needs=frozenset(), fidelity="paper"
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=True)

    alpha: Annotated[float, Range(0, 1)] = 0.1  # the knob: share of the reward that length can cost
    ddof: Annotated[int, Range(0, 1)] = 0  # of s: 0 population (the authors' code), 1 sample
    eps: Annotated[float, Range(1e-12)] = 1e-7  # added to s, tokens
    cut_is_wrong: bool = True  # a rollout without an end of its own counts as wrong
    form: Literal["plain", "code"] = "plain"  # code: whitened over all tokens, the divergence in the rewards
    advantage: Shaper = Rloo(kl=0.001)

    @property
    def loss(self) -> Loss:
        if self.form == "code":
            return replace(self.advantage.loss, aggregation="sequence", kl_kind="k1", kl_in="reward")
        return self.advantage.loss

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        right = rollouts.correct & ~rollouts.truncated if self.cut_is_wrong else rollouts.correct
        place = relative_length(rollouts, right, ddof=self.ddof, eps=self.eps)
        shaped = self.advantage(rollouts.rewarded(np.where(right, 1 - self.alpha * place, 0.0)))
        return shaped if self.form == "plain" else replace(shaped, advantage=self._whitened(rollouts, shaped.advantage))

    def _whitened(self, rollouts: Rollouts, advantage: Floats) -> Floats:
        """Advantages over all tokens of the batch: [B, T] where there are log-probabilities to charge, else [B]."""
        if not rollouts.tokens.keys() >= DIVERGENCE:
            return whitened(advantage, rollouts.length)
        mask = np.asarray(rollouts["mask"], dtype=np.bool_)
        charge = self.loss.kl * np.where(mask, rollouts["logprob"] - rollouts["reference_logprob"], 0.0)
        to_come = np.cumsum(charge[:, ::-1], axis=1)[:, ::-1]
        wide = advantage if advantage.ndim == 2 else advantage[:, None]
        return np.where(mask, whitened(wide - to_come, mask), 0.0)


def whitened(values: Floats, counts: ArrayLike) -> Floats:
    """Return the values less their mean, over their population deviation, each counted so often; any shape.

    >>> whitened(np.array([1.0, 1.0, -2.0]), [3, 1, 2]).round(4)
    array([ 0.7071,  0.7071, -1.4142])
    """
    n = np.asarray(counts, dtype=np.float64)
    total = max(float(n.sum()), 1.0)
    centred = values - float((n * values).sum()) / total
    variance = float((n * centred**2).sum()) / total
    found: Floats = centred / np.sqrt(max(variance, 1e-8))
    return found


def relative_length(rollouts: Rollouts, right: Bools, *, ddof: int, eps: float) -> Floats:
    """Return where a length lies among those of the right rollouts of its group, from 0 (shortest) to 1, [B].

    The sigmoid of the z-score: 0.5 for the mean.
    """
    groups, length = rollouts.groups, rollouts.length
    z = (length - groups.mean(length, right)) / (groups.std(length, right, ddof=ddof) + eps)
    return 0.5 * (1 + np.tanh(z / 2))  # the sigmoid, without overflow
