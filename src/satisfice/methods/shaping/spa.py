"""Spread the outcome over the turns that earned it, by an estimator of progress, and reward accepted actions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import MASK, SEGMENT, Column, Floats, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State

GROUNDED = Column(
    "grounded",
    "the environment accepted the action that ends at this token; 0 elsewhere",
    example=lambda some: some.token_share > 0.5,
    per="token",
)
PROGRESS = Column(
    "progress",
    "share of the outcome that an estimator credits to the action that ends at this token; 0 elsewhere",
    example=lambda some: some.token_share,
    per="token",
)


@dataclass(frozen=True, kw_only=True)
class Spa:
    """Spread the outcome over the turns that earned it, by an estimator of progress, and reward accepted actions.

        r_k = weight v_k + grounding [the environment accepted action k],    sum_k v_k = outcome

    given at the end of each turn; the advantage of a turn's tokens is what the rollout earns from there on, less the
    mean of that over the rollouts of its group that have such a turn. v_k is a linear reading of the hidden state at
    the end of the turn, fitted so that the turns of a rollout sum to its outcome (`fit_progress`). For tasks of many
    turns; no brevity is asked for.

    Formulas are from a digest of the code. Differs from the paper: that is PPO with a value head; here the group's
    mean is the baseline. The script that organises the data in https://github.com/WangHanLinHenry/SPA-RL-Agent (MIT)
    overwrites v_k with the return less the mean of the others (`left_out_return`), so its estimator is used only
    where that line is removed.
    """

    card: ClassVar = Card(
        id="spa",
        paper="arXiv:2505.20732",
        where="progress estimator, grounding reward",
        needs=frozenset(),
        fidelity="second-hand",
        system="spa-rl",
        requires=frozenset({GROUNDED, MASK, PROGRESS, SEGMENT}),
        ours=("weight", "discount", "clip_low", "clip_high"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    weight: Annotated[float, Range(0)] = 1.0  # of the progress
    grounding: Annotated[float, Range(0)] = 0.5  # reward of an accepted action
    discount: Annotated[float, Range(0, 1)] = 1.0  # of the rewards of later turns, by turn
    clip_low: Annotated[float, Range(0, 1)] = 0.2
    clip_high: Annotated[float, Range(0)] = 0.2

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loss(self) -> Loss:
        return Loss(clip_low=self.clip_low, clip_high=self.clip_high, aggregation="token")

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        mask = np.asarray(rollouts["mask"], dtype=np.bool_)
        rewards = step_rewards(rollouts["progress"], rollouts["grounded"], self.weight, self.grounding)
        turn = np.where(mask, np.asarray(rollouts["segment"], dtype=np.int64), 0)
        rows = np.arange(len(rollouts))[:, None]
        earned, there = (np.zeros((len(rollouts), int(turn.max(initial=0)) + 1)) for _ in range(2))
        np.add.at(earned, (np.broadcast_to(rows, turn.shape), turn), np.where(mask, rewards, 0.0))
        np.add.at(there, (np.broadcast_to(rows, turn.shape), turn), mask)
        ahead = to_come(earned, self.discount)
        usual = [rollouts.groups.mean(ahead[:, k], there[:, k] > 0) for k in range(ahead.shape[1])]
        advantage = np.where(mask, np.take_along_axis(ahead - np.stack(usual, axis=1), turn, axis=1), 0.0)
        grounded = float((np.asarray(rollouts["grounded"]) * mask).sum() / len(rollouts))
        return Shaped(advantage=advantage, reward=earned.sum(axis=1)).noted(grounded=grounded)


def to_come(rewards: ArrayLike, discount: float = 1.0) -> Floats:
    """Return what is earned from each turn on, later turns discounted, [B, K].

    >>> to_come([[1.0, 0.0, 2.0]], 0.5)
    array([[1.5, 1. , 2. ]])
    """
    found = np.array(rewards, dtype=np.float64)
    for k in range(found.shape[1] - 2, -1, -1):
        found[:, k] += discount * found[:, k + 1]
    return found


def step_rewards(progress: ArrayLike, grounded: ArrayLike, weight: float = 1.0, grounding: float = 0.5) -> Floats:
    """Reward of each turn, any shape: its share of the outcome, and a bonus where the environment accepted it.

    >>> step_rewards([0.2, 0.8], [1, 0])
    array([0.7, 0.8])
    """
    return weight * np.asarray(progress, dtype=np.float64) + grounding * np.asarray(grounded, dtype=np.float64)


def left_out_return(returns: ArrayLike) -> Floats:
    """What the authors' data script gives every turn in place of its progress: the return less the others' mean, [G].

    >>> left_out_return([1.0, 0.0, 0.5])
    array([ 0.75, -0.75,  0.  ])
    """
    r: Floats = np.asarray(returns, dtype=np.float64)
    if r.size < 2:
        raise BadInput(f"left_out_return: at least two returns are needed, got {r.size}.")
    others: Floats = (r.sum() - r) / (r.size - 1)
    return r - others


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A linear reading of what a turn contributed: v = w h + b."""

    weight: Floats  # [d]
    bias: float

    def __call__(self, states: ArrayLike) -> Floats:
        """Contribution of each turn, [K], from the hidden state [K, d] at its last token."""
        found: Floats = np.asarray(states, dtype=np.float64) @ self.weight + self.bias
        return found

    def exact(self, states: ArrayLike, outcome: float) -> Floats:
        """Return contributions that sum to the outcome: what they lack is spread evenly over the turns."""
        v = self(states)
        missing = (outcome - float(v.sum())) / max(len(v), 1)
        return v + missing


def fit_progress(episodes: Sequence[ArrayLike], outcomes: ArrayLike, *, ridge: float = 1e-3) -> Progress:
    """Return the reading whose turns sum to the outcome, in the mean square over episodes.

        min_{w,b} sum_e (sum_k (w h_k + b) - R_e)^2 + ridge |w|^2

    `episodes` are hidden states [K_e, d] at the ends of turns, `outcomes` [E]. As the sum of a linear reading is a
    reading of the sum, this is one linear regression.

    Raises:
        BadInput: no episodes, one without a turn, or states of different width.
    """
    rows = [np.asarray(states, dtype=np.float64) for states in episodes]
    y = np.asarray(outcomes, dtype=np.float64)
    if not rows or len(rows) != len(y):
        raise BadInput(f"fit_progress: one outcome an episode is needed, got {len(rows)} and {len(y)}.")
    if any(h.ndim != 2 or not len(h) or h.shape[1] != rows[0].shape[1] for h in rows):
        raise BadInput("fit_progress: every episode needs states [K, d] of at least one turn, all of one width.")
    x = np.stack([np.append(h.sum(axis=0), len(h)) for h in rows])  # [E, d + 1]
    penalty = ridge * np.eye(x.shape[1])
    penalty[-1, -1] = 1e-12  # the bias is not held back
    found = np.linalg.solve(x.T @ x + penalty, x.T @ y)
    return Progress(weight=found[:-1], bias=float(found[-1]))
