"""Spend a budget of steps on rollouts of different lengths, so that the return is known as narrowly as can be."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import MASK, Column, Floats, Ints, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State

TOKEN_REWARD = Column(
    "token_reward",
    "reward given at this token",
    example=lambda some: some.token_share * 4 - 2,
    per="token",
)

Rounding = Literal["floor", "exact"]


@dataclass(frozen=True, kw_only=True)
class TrajectoryTruncation:
    """Spend a budget of steps on rollouts of different lengths, so that the return is known as narrowly as can be.

    With discounted rewards in [0, 1] early steps matter more, so more rollouts should reach them. n_t rollouts reach
    step t of T; the return is estimated by J = sum_t g^t mean(rewards at t), and Hoeffding's half width

        sqrt(log(2 / delta) / 2  sum_t c_t / n_t),    c_t = g^t (g^t + g^(t+1) - 2 g^T) / (1 - g)

    is least, for a budget of B steps in all, at n_t = B sqrt(c_t) / sum sqrt(c). Rounded down, at least one, what is
    left over from the front on; or, with `rounding=exact`, the best whole numbers there are. The rollouts of a prompt
    are capped so that these numbers come out (`lengths_of`), before anything is sampled; each step's discounted reward
    to go is compared with its mean over those of the group that reach it.

    It needs a reward at each step (`token_reward`). With a reward at the end alone and no discount, as usual for
    language models, its premise fails: a rollout that is cut earns nothing. Bound and optimum are derived here.
    """

    card: ClassVar = Card(
        id="trajectory-truncation",
        paper="arXiv:2305.04361",
        where="optimal allocation of the budget",
        needs=frozenset(),
        fidelity="reconstructed",
        system="truncated-mc-rl",
        requires=frozenset({MASK, TOKEN_REWARD}),
        ours=("horizon", "discount", "budget", "step", "rounding", "clip_low", "clip_high"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    horizon: Annotated[int, Range(1)] = 64  # T, steps
    discount: Annotated[float, Range(0, 1)] = 0.95  # g, of a step; below 1
    budget: Annotated[int, Range(1)] = 256  # B, steps of all rollouts of a prompt
    step: Annotated[int, Range(1)] = 16  # tokens of a step
    rounding: Rounding = "floor"
    clip_low: Annotated[float, Range(0, 1)] = 0.2
    clip_high: Annotated[float, Range(0)] = 0.2

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.horizon <= self.budget:
            raise BadInput(
                f"trajectory-truncation: budget must be at least the horizon ({self.horizon} steps), so that one "
                f"rollout can be whole; got {self.budget}. Raise it."
            )
        step_weights(self.horizon, self.discount)

    @property
    def loss(self) -> Loss:
        return Loss(clip_low=self.clip_low, clip_high=self.clip_high, aggregation="token")

    def cap(self, state: State, prompts: Sequence[str]) -> Ints:
        """The longest cap for the first rollout of each prompt, and so on; those beyond the allocation get one step."""
        lengths = lengths_of(allocation(self.horizon, self.discount, self.budget, self.rounding))
        seen: dict[str, int] = {}
        caps = []
        for name in prompts:
            place = seen.get(name, 0)
            seen[name] = place + 1
            caps.append(int(lengths[place]) * self.step if place < len(lengths) else self.step)
        return np.array(caps, dtype=np.int64)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        mask = np.asarray(rollouts["mask"], dtype=np.bool_)
        place = np.where(mask, np.cumsum(mask, axis=1) - 1, 0)
        earned = np.where(mask, self.discount ** (place // self.step) * rollouts["token_reward"], 0.0)
        ahead = np.cumsum(earned[:, ::-1], axis=1)[:, ::-1]
        advantage = np.zeros(mask.shape)
        for rows in rollouts.groups:
            for t in range(int(place[rows].max(initial=0)) + 1):
                here = mask[rows] & (place[rows] == t)
                if here.any():
                    advantage[rows] += np.where(here, ahead[rows] - ahead[rows][here].mean(), 0.0)
        return Shaped(advantage=advantage, reward=earned.sum(axis=1)).noted(whole=float((~rollouts.truncated).mean()))


def step_weights(horizon: int, discount: float) -> Floats:
    """c_t: how much the width of the estimate owes to the number of rollouts that reach step t, [T].

    >>> step_weights(5, 0.9).round(4)
    array([7.1902, 4.7612, 2.9   , 1.488 , 0.4305])
    """
    if not 0 < discount < 1:
        raise BadInput(
            f"trajectory-truncation: discount must lie between 0 and 1, got {discount}. Without a discount, or with "
            "nothing but the first step, there is nothing to gain from rollouts of different lengths."
        )
    g = discount ** np.arange(horizon, dtype=np.float64)
    found: Floats = g * (g + discount * g - 2 * discount**horizon) / (1 - discount)
    return found


def relaxed_allocation(horizon: int, discount: float, budget: float) -> Floats:
    """n_t as real numbers, [T]: the optimum before rounding.

    >>> relaxed_allocation(5, 0.9, 50).round(2)
    array([15.88, 12.92, 10.09,  7.22,  3.89])
    """
    root = np.sqrt(step_weights(horizon, discount))
    found: Floats = budget * root / root.sum()
    return found


def allocation(horizon: int, discount: float, budget: int, rounding: Rounding = "floor") -> Ints:
    """Return how many rollouts reach each step, [T], never more than reach the one before.

    >>> allocation(5, 0.9, 50), allocation(5, 0.9, 50, "exact")
    (array([16, 13, 11,  7,  3]), array([16, 13, 10,  7,  4]))
    """
    if budget < horizon:
        raise BadInput(f"allocation: {budget} steps are too few for one rollout of {horizon}. Raise the budget.")
    if rounding == "exact":
        return _exact_allocation(horizon, discount, budget)
    n = np.maximum(np.floor(relaxed_allocation(horizon, discount, budget)), 1).astype(np.int64)
    for _ in range(int(n.sum()) - budget):  # what was raised to one is taken from where most are
        n[np.flatnonzero(n == n.max())[-1]] -= 1
    for t in range(budget - int(n.sum())):
        n[t % horizon] += 1
    return n


def _exact_allocation(horizon: int, discount: float, budget: int) -> Ints:
    """One rollout everywhere, then each further step where it narrows the bound most: the sum of c_t / n_t is convex in
    every n_t, so nothing else is better."""
    c = step_weights(horizon, discount)
    n = np.ones(horizon, dtype=np.int64)
    gains = [(-c[t] / 2, t) for t in range(horizon)]
    heapq.heapify(gains)
    for _ in range(budget - horizon):
        _, t = heapq.heappop(gains)
        n[t] += 1
        heapq.heappush(gains, (-c[t] / (n[t] * (n[t] + 1)), t))
    return n


def lengths_of(reached: ArrayLike) -> Ints:
    """Return lengths in steps of the rollouts of which so many reach each step, the longest first.

    >>> lengths_of([3, 2, 2, 1])
    array([4, 3, 1])
    """
    n = np.asarray(reached, dtype=np.int64)
    found: Ints = (n[:, None] > np.arange(int(n.max(initial=0)))).sum(axis=0).astype(np.int64)
    return found


def half_width(reached: ArrayLike, discount: float, delta: float = 0.05) -> float:
    """Hoeffding's half width of the return's estimate at confidence 1 - delta, by how many rollouts reach each step."""
    n = np.asarray(reached, dtype=np.float64)
    spread = float((step_weights(len(n), discount) / n).sum())
    return math.sqrt(0.5 * math.log(2 / delta) * spread)


def estimated_return(rewards: Sequence[ArrayLike], discount: float) -> float:
    """J from rollouts of different lengths: each step's reward averaged over those that reach it."""
    rows = [np.asarray(row, dtype=np.float64) for row in rewards]
    longest = max(map(len, rows))
    total = 0.0
    for t in range(longest):
        total += discount**t * float(np.mean([row[t] for row in rows if len(row) > t]))
    return total
