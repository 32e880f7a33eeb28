"""Sample very long rollouts in segments over several steps, and stop training on what is mastered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import ENTROPY, LOGPROB, MASK, Bools, Floats, Ints, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class Ulorl(ShapesReward):
    """Sample very long rollouts in segments over several steps, and stop training on what is mastered.

    In a step every rollout on its way grows by one segment; a group is trained on once all its rollouts have ended, so
    that a few long ones do not keep a whole batch waiting. A rollout that reaches the limit earns nothing. The tokens
    of its segments were sampled by several policies; the ratio divides by the one before this update for all of them
    (`ratios`), and with one update per step it is 1, so nothing is clipped.

        w[i,t] = 1 - [mean_t H_i < sigma] [p(o_it) >= tau] [r_i = 1]

    Tokens of right rollouts that are all but certain weigh nothing while the rollout's mean entropy is below sigma;
    the denominator goes on counting them. Groups that are all right or all wrong are left out, to be sampled again.
    Fewer tokens are trained, not fewer sampled: this makes long thinking affordable, it asks for no brevity.
    """

    card: ClassVar = Card(
        id="ulorl",
        paper="arXiv:2507.19766",
        where="segment rollout, DMMPT, POIS",
        needs=frozenset(),
        fidelity="paper",
        system="ulorl",
        requires=frozenset({ENTROPY, LOGPROB, MASK}),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)
    whole_groups: ClassVar = True

    limit: Annotated[int, Range(1)] = 131_072  # tokens of a rollout
    segments: Annotated[int, Range(1)] = 8  # that it is sampled in
    tau: Annotated[float, Range(0, 1)] = 0.99  # probability from which on a token is mastered
    sigma: Annotated[float, Range(0)] = 0.2  # nats; mean entropy of a rollout from which on nothing of it is masked
    advantage: Shaper = Grpo(kl=0.0, aggregation="token")

    @property
    def segment(self) -> int:
        """Tokens that a rollout grows by in a step."""
        return -(-self.limit // self.segments)

    def cap(self, state: State, prompts: Sequence[str]) -> Ints:
        return np.full(len(prompts), self.limit)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        reward = np.where(rollouts.truncated | (rollouts.length > self.limit), 0.0, rollouts.reward)
        shaped = self.advantage(rollouts.rewarded(reward))
        groups, mask = rollouts.groups, np.asarray(rollouts["mask"], dtype=np.bool_)
        mixed = groups.max(reward) > groups.min(reward)
        masked = mastered(rollouts["logprob"], rollouts["entropy"], mask, reward, tau=self.tau, sigma=self.sigma)
        weight = np.where(masked, 0.0, 1.0)
        if shaped.weight is not None:
            weight = weight * (shaped.weight if shaped.weight.ndim == 2 else shaped.weight[:, None])
        shaped = replace(shaped, weight=weight).keeping(mixed)
        return shaped.noted(mastered=float(masked.sum() / max(int(mask.sum()), 1)))


def mastered(
    logprob: ArrayLike, entropy: ArrayLike, mask: ArrayLike, reward: ArrayLike, *, tau: float = 0.99, sigma: float = 0.2
) -> Bools:
    """Return tokens of right rollouts that are all but certain, where the rollout as a whole is, [B, T].

    `logprob` and `entropy` in nats under the policy before this update; `reward` [B].

    >>> probs = np.log([[0.995, 0.6, 0.999, 0.97]])
    >>> mastered(probs, np.full((1, 4), 0.15), np.ones((1, 4)), [1]).astype(int)
    array([[1, 0, 1, 0]])
    """
    there = np.asarray(mask, dtype=np.bool_)
    h = np.where(there, np.asarray(entropy, dtype=np.float64), 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    sure = np.asarray(logprob, dtype=np.float64) >= np.log(max(tau, 1e-300)) - 1e-12
    right = np.asarray(reward, dtype=np.float64) == 1
    found: Bools = there & sure & ((h < sigma) & right)[:, None]
    return found


def ratios(new: ArrayLike, before: ArrayLike, sampled: ArrayLike, how: Literal["pois", "sais"] = "pois") -> Floats:
    """Importance ratios of tokens whose segments were sampled by different policies; log-probabilities in nats, [B, T].

    `pois` divides by the policy as it is before this update, for all segments; `sais` by whichever sampled each.

    >>> new, before, sampled = np.log([[0.5, 0.5]]), np.log([[0.5, 0.4]]), np.log([[0.25, 0.4]])
    >>> ratios(new, before, sampled), ratios(new, before, sampled, "sais")
    (array([[1.  , 1.25]]), array([[2.  , 1.25]]))
    """
    under = before if how == "pois" else sampled
    return np.exp(np.asarray(new, dtype=np.float64) - np.asarray(under, dtype=np.float64))
