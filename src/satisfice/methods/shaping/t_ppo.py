"""Train in every step on what each rollout has grown by, ended or not, with a value head for what is to come."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.arrays import constant, namespace
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.loss_term import Added, PolicyLoss, Tokens
from satisfice.core.rollouts import MASK, VALUE, Column, Floats, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State
from satisfice.methods.shaping._gae import generalised_advantage, last_token

FINISHED = Column(
    "finished",
    "the rollout came to its end; an unfinished one goes on in the next step",
    example=lambda some: some.share > 0.3,
)
FIRST_NEW = Column(
    "first_new",
    "number of the first token that was sampled in this step, counted from 0",
    example=lambda some: np.floor(3 * some.share),
)


@dataclass(frozen=True, kw_only=True)
class SquaredValueError:
    """Teach the value head: the mean of (V_t - target_t)^2 over tokens, averaged as the policy loss is."""

    weight: float
    reads: ClassVar = frozenset({"value", "value_target", "value_weight"})

    def __call__(self, part: Tokens, policy: PolicyLoss) -> Added:
        xp, mask = namespace(policy.each), part.mask > 0
        gap = xp.where(mask, part.value - part.columns["value_target"], 0.0)
        error = (part.plain_share * part.columns["value_weight"] * gap**2).sum()
        return Added(total=self.weight * error, metrics={"value_loss": float(constant(error))})


@dataclass(frozen=True, kw_only=True)
class TPpo:
    """Train in every step on what each rollout has grown by, ended or not, with a value head for what is to come.

    In a step every rollout grows by at most `window` tokens; one that has ended makes room for a new prompt, so that
    the batch is always full. A rollout that goes on has no reward yet, and what comes after its last token is expected
    to be worth what that token was (extended generalised advantages):

        delta_t = r_t + gamma V(s_{t+1}) - V(s_t),    V(s_l) = V(s_{l-1}) while it goes on, 0 once it has ended
        A_t = sum_k (gamma lambda)^k delta_{t+k}

    The policy learns from the tokens of this step, the value head from rollouts that have ended, against what they
    earned; both losses are averaged over the tokens that they count. There are no groups, and no brevity is asked for:
    what is saved is the wait for the longest rollout. While the value head knows nothing, only ended rollouts teach.

    The window, gamma and lambda of the paper could not be read; those here are ours.
    """

    card: ClassVar = Card(
        id="t-ppo",
        paper="arXiv:2506.15050",
        where="EGAE, token filtering",
        needs=frozenset(),
        fidelity="second-hand",
        system="t-ppo",
        requires=frozenset({FINISHED, FIRST_NEW, MASK, VALUE}),
        ours=("window", "gamma", "lam", "value_weight", "clip_low", "clip_high"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)
    whole_groups: ClassVar = False

    window: Annotated[int, Range(1)] = 8192  # tokens that a rollout grows by in a step, at most
    gamma: Annotated[float, Range(0, 1)] = 1.0
    lam: Annotated[float, Range(0, 1)] = 0.95
    value_weight: Annotated[float, Range(0)] = 0.5  # of the value head's squared error in the loss
    clip_low: Annotated[float, Range(0, 1)] = 0.2
    clip_high: Annotated[float, Range(0)] = 0.2

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def segment(self) -> int:
        """Tokens that a rollout grows by in a step."""
        return self.window

    @property
    def loss(self) -> Loss:
        terms = (SquaredValueError(weight=self.value_weight),)
        return Loss(clip_low=self.clip_low, clip_high=self.clip_high, aggregation="token", terms=terms)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        mask, finished = np.asarray(rollouts["mask"], dtype=np.bool_), rollouts["finished"] > 0
        reward = np.where(finished, rollouts.reward, 0.0)
        advantage = extended_advantage(
            last_token(mask) * reward[:, None], rollouts["value"], mask, finished, gamma=self.gamma, lam=self.lam
        )
        new = mask & (np.cumsum(mask, axis=1) > rollouts["first_new"][:, None])
        ended = mask & finished[:, None]
        target = _to_come(reward, mask, self.gamma)
        shaped = Shaped(
            advantage=np.where(new, advantage, 0.0), reward=reward, weight=_of_all(new, mask),
            columns={"value_target": target, "value_weight": _of_all(ended, mask)},
        )  # fmt: skip
        error = np.where(ended, (rollouts["value"] - target) ** 2, 0.0)
        return shaped.noted(
            finished=float(finished.mean()),
            new_tokens=float(new.sum()),
            value_error=float(error.sum() / max(int(ended.sum()), 1)),
        )


def extended_advantage(
    reward: ArrayLike, value: ArrayLike, mask: ArrayLike, finished: ArrayLike, *, gamma: float = 1.0, lam: float = 0.95
) -> Floats:
    """Advantages of rollouts some of which go on, [B, T]: after the last token of those comes what it was worth itself.

    >>> value = [[0.2, 0.5, 0.4, 0.6]] * 2
    >>> extended_advantage([[0, 0, 0, 0], [0, 0, 0, 1]], value, np.ones((2, 4)), [0, 1]).round(5)
    array([[0.3855 , 0.09   , 0.2    , 0.     ],
           [0.72845, 0.451  , 0.58   , 0.4    ]])
    """
    v, there = np.asarray(value, dtype=np.float64), np.asarray(mask, dtype=np.bool_)
    after = np.where(np.asarray(finished, dtype=np.bool_), 0.0, (last_token(there) * v).sum(axis=1))
    return generalised_advantage(reward, v, there, gamma=gamma, lam=lam, bootstrap=after)


def _of_all(counted: ArrayLike, mask: ArrayLike) -> Floats:
    """Weights that make a mean over all tokens one over those that are counted, [B, T]."""
    some = np.asarray(counted, dtype=np.float64)
    return some * float(np.asarray(mask).sum()) / max(float(some.sum()), 1.0)


def _to_come(reward: Floats, mask: ArrayLike, gamma: float) -> Floats:
    """Return the discounted reward from each token on, [B, T]."""
    there = np.asarray(mask, dtype=np.float64)
    left = np.cumsum(there[:, ::-1], axis=1)[:, ::-1] - 1  # tokens after this one
    found: Floats = np.where(there > 0, reward[:, None] * gamma ** np.maximum(left, 0), 0.0)
    return found
