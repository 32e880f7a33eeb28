"""LASER-D that also forgives wrong rollouts which explored at length."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping._columns import REPETITIVE
from satisfice.methods.shaping._laser import RIGHT, WRONG, MonitorsTargets, Rounding, scores, targets_of
from satisfice.methods.shaping.grpo import Grpo

SHORT = 8  # tokens: a rollout that is no longer is not looked at


@dataclass(frozen=True, kw_only=True)
class LaserDe(ShapesReward, MonitorsTargets):
    """LASER-D that also forgives wrong rollouts which explored at length.

        r_i = score_i + alpha [L_i <= L_A(band)] if right
        r_i = score_i + alpha [L_i > L_A(band)]  if wrong, well formed and not repetitive

    so that a long wrong rollout gets 0 where a short one gets -0.5. Everything else as in LASER-D. Whether a rollout
    goes in circles is the column `repetitive`: see `goes_in_circles`.

    Reference code: https://github.com/hkust-nlp/Laser. Its detector of repetition is the one here, but its trainer
    hands it tensors, whose elements never compare equal as keys, so that in its runs no rollout was ever found
    repetitive and every long wrong one was paid. `detect=false` is what those runs did.
    """

    card: ClassVar = Card(
        id="laser-de",
        paper="arXiv:2505.15612",
        where="LASER-DE",
        needs=frozenset(),
        fidelity="paper",
        system="laser",
        requires=frozenset({REPETITIVE}),
    )
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    alpha: Annotated[float, Range(0)] = 0.5  # the bonus
    lower: Annotated[int, Range(1)] = 4096  # smallest target, tokens; the paper also has 1024 and 2048
    upper: Annotated[int, Range(1)] = 16384  # largest target, tokens
    interval: Annotated[int, Range(1)] = 1024  # grid of targets, tokens
    expected: Annotated[int, Range(1)] = 1  # right responses
    rounding: Rounding = "floor"  # of C
    every: Annotated[int, Range(1)] = 20  # steps from one monitoring to the next
    monitor_prompts: Annotated[int, Range(1)] = 500
    fallback: Annotated[int, Range(1)] = 8192  # target of all bands before the first monitoring, tokens
    detect: bool = True  # a wrong rollout that repeats itself is not forgiven; the released runs forgave it
    advantage: Shaper = Grpo(clip_high=0.28, entropy=0.001, aggregation="token")

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        base = scores(rollouts)
        target = targets_of(rollouts, state or self.init(), self.fallback)
        short = rollouts.length <= target
        explored = (base == WRONG) & ~short
        if self.detect:
            explored &= ~rollouts["repetitive"].astype(np.bool_)
        shaped = self.advantage(rollouts.rewarded(base + self.alpha * np.where(base == RIGHT, short, explored)))
        return shaped.noted(
            target=float(target.mean()), under_target=float(short.mean()), explored=float(explored.mean())
        )


def goes_in_circles(ids: Sequence[int]) -> bool:
    """Return whether a rollout repeats itself, by its token ids.

    It does if an n-gram comes often enough (twice in fewer than 200 tokens, else three times) with two neighbouring
    occurrences closer than a third of the rollout, or if a 2n-gram comes twice; n is 4, 3 below 100 tokens, 2 below 30.
    A 3- or 4-gram of a single token does not count as an n-gram; in a pair and in a 2n-gram it does. Rollouts of at
    most 8 tokens never repeat themselves.

    >>> goes_in_circles([7] * 500), goes_in_circles([7] * 8), goes_in_circles(range(500))
    (True, False, False)
    """
    tokens = list(ids)
    length = len(tokens)
    if length <= SHORT:
        return False
    n = 2 if length < 30 else 3 if length < 100 else 4
    often = 2 if length < 200 else 3
    seen: dict[tuple[int, ...], list[int]] = {}
    for begin in range(length - n, -1, -1):
        gram = tuple(tokens[begin : begin + n])
        if n > 2 and len(set(gram)) == 1:
            continue
        places = seen.setdefault(gram, [])
        places.append(begin)
        if len(places) >= often and min(a - b for a, b in itertools.pairwise(places)) < length // 3:
            return True
    long = [tuple(tokens[begin : begin + 2 * n]) for begin in range(length - 2 * n + 1)]
    return length >= 4 * n and len(set(long)) < len(long)
