"""Reward right rollouts more when short and wrong ones more when long, and charge repetition where it happens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range
from satisfice.core.rollouts import IDS, MASK, Bools, Floats, Ints, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping._gae import generalised_advantage
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class CosineLength(ShapesReward):
    """Reward right rollouts more when short and wrong ones more when long, and charge repetition where it happens.

        r = r_L + (r_0 - r_L) (1 + cos(pi L / limit)) / 2,    r_0 at no length, r_L at the limit
        right: 2 down to 1;  wrong: -10 up to 0;  L + 16 >= limit: -10, right or wrong

    Each token of an n-gram that occurred before in the rollout earns `repetition`; hits do not add up. Its discounted
    sum from each token on, with a discount of its own, is added to the advantage. The method keeps chains long enough
    and stable rather than short: a wrong rollout gains by thinking longer. Reference code:
    https://github.com/eddycmu/demystify-long-cot (MIT).

    Differs from the code: that is PPO, A_t = sum of both discounted rewards - V(s_t). There is no
    value head here; the cosine reward is compared within the group.
    """

    card: ClassVar = Card(
        id="cosine-length",
        paper="arXiv:2502.03373",
        where="cosine reward, repetition penalty",
        needs=frozenset(),
        fidelity="paper",
        system="demystify-long-cot",
        requires=frozenset({IDS, MASK}),
        ours=("advantage",),
    )
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    limit: Annotated[int, Range(1)] = 14_336  # tokens
    right_short: Annotated[float, Range()] = 2.0
    right_long: Annotated[float, Range()] = 1.0
    wrong_short: Annotated[float, Range()] = -10.0
    wrong_long: Annotated[float, Range()] = 0.0
    exceeded: Annotated[float, Range()] = -10.0
    margin: Annotated[int, Range(0)] = 16  # tokens before the limit from which on it counts as exceeded
    repetition: Annotated[float, Range(high=0)] = -0.05  # reward of a repeated token; 0: none
    ngram: Annotated[int, Range(1)] = 40  # tokens
    discount: Annotated[float, Range(0, 1)] = 0.99  # of the repetition's rewards
    advantage: Shaper = Grpo(kl=0.01)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        length = rollouts.length
        right = cosine(length, self.limit, self.right_short, self.right_long)
        wrong = cosine(length, self.limit, self.wrong_short, self.wrong_long)
        reward = np.where(rollouts.correct, right, wrong)
        over = length + self.margin >= self.limit
        shaped = self.advantage(rollouts.rewarded(np.where(over, self.exceeded, reward)))
        if not self.repetition:
            return shaped
        mask = np.asarray(rollouts["mask"], dtype=np.bool_)
        again = repeated(rollouts["ids"], mask, self.ngram)
        charge = discounted(self.repetition * again, mask, self.discount)
        wide = shaped.advantage if shaped.advantage.ndim == 2 else shaped.advantage[:, None]
        shaped = replace(shaped, advantage=np.where(mask, wide + charge, 0.0))
        return shaped.noted(repeated=float(again.sum() / max(int(mask.sum()), 1)))


def cosine(length: ArrayLike, limit: int, begin: float, end: float) -> Floats:
    """From `begin` at length 0 to `end` at the limit, along half a cosine.

    >>> cosine([2000, 10_000], 14_336, 2, 1).round(4), cosine([2000, 10_000], 14_336, -10, 0).round(4)
    (array([1.9527, 1.2092]), array([-9.5274, -2.0924]))
    """
    share = np.asarray(length, dtype=np.float64) / limit
    return end + 0.5 * (begin - end) * (1 + np.cos(np.pi * share))


def discounted(reward: ArrayLike, mask: ArrayLike, discount: float) -> Floats:
    """Sum of the rewards from each token on, later ones discounted, [B, T]."""
    r = np.asarray(reward, dtype=np.float64)
    return generalised_advantage(r, np.zeros(r.shape), mask, gamma=discount)


def repeated(ids: ArrayLike, mask: ArrayLike, n: int) -> Bools:
    """Return tokens that lie in an n-gram which occurred earlier in the rollout, [B, T].

    >>> repeated([[1, 2, 3, 1, 2, 3, 1, 2]], np.ones((1, 8)), 3).astype(int)
    array([[0, 0, 0, 1, 1, 1, 1, 1]])
    """
    valid = np.asarray(mask, dtype=np.bool_)
    found = np.zeros(valid.shape, dtype=np.bool_)
    for row, (tokens, there) in enumerate(zip(np.asarray(ids), valid, strict=True)):
        names = _ngrams(tokens[there], n)
        _, first = np.unique(names, return_index=True)
        again = np.ones(len(names), dtype=np.bool_)
        again[first] = False
        starts = np.concatenate([again, np.zeros(min(n - 1, int(there.sum()) - len(names)), dtype=np.bool_)])
        hits = np.cumsum(starts)
        hits[n:] -= hits[:-n].copy()  # repeated n-grams that began within the last n tokens
        found[row, there] = hits > 0
    return found


def repeated_share(words: Sequence[str], n: int) -> float:
    """Share of the n-grams of a text's words, in lower case, that are not distinct; 0 for a text of fewer than n words.

    The code's other variant: this times the penalty is added to the reward of wrong rollouts.

    >>> round(repeated_share("a b a b a b".split(), 2), 4)
    0.6
    """
    if n < 1:
        raise BadInput(f"repeated_share: n must be at least 1, got {n}.")
    lower = [word.lower() for word in words]
    grams = [tuple(lower[at : at + n]) for at in range(len(lower) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _ngrams(tokens: ArrayLike, n: int) -> Ints:
    """A number for each n-gram, the same for the same one: names of short pieces are joined until they are n long."""
    names = np.unique(np.asarray(tokens), return_inverse=True)[1].reshape(-1).astype(np.int64)
    width = 1
    while width < n and len(names):
        step = min(width, n - width)
        pairs = names[:-step] * (len(names) + 1) + names[step:]
        names = np.unique(pairs, return_inverse=True)[1].reshape(-1).astype(np.int64)
        width += step
    return names
