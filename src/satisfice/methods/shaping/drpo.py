"""Share out the reward for brevity among the right rollouts alone, so that none of them is ever pushed down."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.arrays import constant, namespace
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.loss_term import Added, PolicyLoss, Tokens
from satisfice.core.rollouts import LOGPROB, MASK, Bools, Floats, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State


@dataclass(frozen=True, kw_only=True)
class TrustRegion:
    """Hold the policy near the one that sampled.

        max(weight (K - radius), 0) K,    the first factor held constant

    with K the mean of log p_old - log p_new over all tokens of a part of the batch.
    """

    radius: float  # divergence that is free, nats a token
    weight: float
    reads: ClassVar = frozenset[str]()

    def __call__(self, part: Tokens, policy: PolicyLoss) -> Added:
        xp = namespace(policy.change)
        k = -(policy.change * part.mask).sum() / xp.clip(part.mask.sum(), 1, None)
        factor = xp.clip(self.weight * (constant(k) - self.radius), 0, None)
        return Added(total=factor * k * part.plain_share.sum())


@dataclass(frozen=True, kw_only=True)
class Drpo:
    """Share out the reward for brevity among the right rollouts alone, so that none of them is ever pushed down.

        J_q = sum_{i right} w_i s_i - tau log mean_{j wrong} exp(s_j / tau)
        w_i = exp(u_i / lam) / sum_{k right} exp(u_k / lam),    u_i = 1 - L_i / C

    with s_i the mean log-probability of a rollout's tokens. J is averaged over all prompts of the batch; prompts
    without a right or without a wrong rollout add nothing. A large lam forgets length, a small one keeps only the
    shortest right rollout. Rollouts that were cut off count as wrong. No ratio is clipped; `TrustRegion` holds the
    policy instead.

    The advantages are the gradient of J with respect to the s_i, in units of one rollout: G w_i and, on the wrong side,
    -G softmax(s_j / tau). The second moves with the policy, hence `Loss.refresh`.

    Reference code: https://github.com/Optimization-AI/DRPO (MIT).
    """

    card: ClassVar = Card(
        id="drpo",
        paper="arXiv:2510.04474",
        where="decoupled objective",
        needs=frozenset(),
        fidelity="code",
        system="drpo",
        requires=frozenset({LOGPROB, MASK}),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    lam: Annotated[float, Range(1e-6)] = 0.1  # lambda: temperature of the weights among right rollouts
    tau: Annotated[float, Range(1e-6)] = 10.0  # temperature of the wrong side
    capacity: Annotated[int, Range(1)] = 8192  # C: most tokens of a response
    radius: Annotated[float, Range(0)] = 1e-4  # delta: divergence that is free, nats a token
    weight: Annotated[float, Range(0)] = 1000.0  # beta: of the divergence beyond it

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loss(self) -> Loss:
        terms = (TrustRegion(radius=self.radius, weight=self.weight),)
        return Loss(ratio="none", aggregation="sequence", refresh=True, terms=terms)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        right = rollouts.correct & ~rollouts.truncated
        used = rollouts.groups.any(right) & rollouts.groups.any(~right)
        mask = rollouts["mask"].astype(np.bool_)
        scores = np.where(mask, rollouts["logprob"], 0.0).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
        gradient = np.where(
            right,
            softmax_within(rollouts, (1 - rollouts.length / self.capacity) / self.lam, right),
            -softmax_within(rollouts, scores / self.tau, ~right),
        )
        advantage = np.where(used, gradient * len(rollouts) / rollouts.groups.count, 0.0)
        return Shaped(advantage=advantage, reward=right.astype(np.float64)).noted(prompts_used=float(used.mean()))


def softmax_within(rollouts: Rollouts, values: Floats, where: Bools) -> Floats:
    """Softmax over those rows of each group that count; the others get 0, [B]."""
    groups = rollouts.groups
    shifted = np.exp(np.where(where, values - groups.max(values, where), -np.inf))
    total = groups.total(shifted)
    return np.where(total > 0, shifted / np.maximum(total, 1e-300), 0.0)


def objective(rollouts: Rollouts, scores: Floats, *, lam: float, tau: float, capacity: int) -> float:
    """J of one batch, given the mean log-probability of each rollout's tokens, [B]."""
    groups, right = rollouts.groups, rollouts.correct & ~rollouts.truncated
    used = groups.any(right) & groups.any(~right)
    weights = softmax_within(rollouts, (1 - rollouts.length / capacity) / lam, right)
    gain = groups.total(weights * scores)
    top = groups.max(scores / tau, ~right)
    loss = tau * (top + np.log(np.maximum(groups.mean(np.exp(np.where(right, 0, scores / tau - top)), ~right), 1e-300)))
    return float(np.where(used, gain - loss, 0.0)[groups.first].mean())
