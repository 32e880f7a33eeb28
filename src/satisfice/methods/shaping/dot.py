"""Cut the outliers of length among the rollouts of prompts that are solved every time."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.arrays import as_numpy, like, namespace
from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.loss_term import Added, PolicyLoss, Tokens
from satisfice.core.rollouts import Bools, Floats, Ints, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, Shaper, State, check_advantage
from satisfice.methods.shaping.dapo import differs
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class KlCov:
    """Hold tokens of high covariance between advantage and log-probability near the old policy, and clip none of them.

    Of the tokens of each part of a batch, the `share` with the highest covariance (`kl_cov_tokens`) have the loss

        -A rho + weight |log rho|
    """

    share: float  # of the tokens
    weight: float
    reads: ClassVar = frozenset[str]()

    def __call__(self, part: Tokens, policy: PolicyLoss) -> Added:
        xp = namespace(policy.each)
        chosen = kl_cov_tokens(as_numpy(part.advantage), as_numpy(part.logprob), as_numpy(part.mask), self.share)
        held = -part.advantage * xp.exp(policy.change) + self.weight * abs(policy.change)
        return Added(each=xp.where(like(chosen, policy.each), held, policy.each))


@dataclass(frozen=True, kw_only=True)
class Dot:
    """Cut the outliers of length among the rollouts of prompts that are solved every time.

    There is no length term in the reward. In a group that is all right, a rollout that is much longer than its peers is
    cut where an outlier begins, and verified again; mostly its answer is lost and the group becomes a mixed one.

        T_q = floor(mean L + alpha std L),    cut rollout i at T_q if all are right and L_i - T_q >= margin

    with the sample standard deviation. The largest z-score in a group of G is (G - 1) / sqrt(G), so alpha = 3 can fire
    from G = 11 on only; `cut` says nothing below that. Groups whose rewards are all the same after the cut are not
    kept. The loss clips no token, -A rho, and adds for those of highest covariance between advantage and
    log-probability a term that holds the policy near the old one (`kl_cov`). `clip=0.2` is the usual clipped loss for
    the other tokens, and holds more than one update per batch together.

    Reference code: https://github.com/U-rara/DOT (Apache-2.0). It also samples more prompts than it trains on, by how
    many groups were informative lately; here the trainer replaces the groups that are not kept (`--refill`).
    """

    card: ClassVar = Card(
        id="dot", paper="arXiv:2601.03969", where="official code", needs=frozenset(), fidelity="paper", system="dot"
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=True)

    alpha: Annotated[float, Range(0)] = 3.0  # standard deviations
    margin: Annotated[float, Range(0)] = 32.0  # tokens beyond T_q; below 1: share of the rollout, at least 16 tokens
    kl_cov_share: Annotated[float, Range(0, 1)] = 0.002  # share of tokens with the extra term; 0: none
    kl_cov: Annotated[float, Range(0)] = 1.0  # its weight
    clip: Annotated[float, Range(0, 1)] | None = None  # of the ratio, to both sides; none: no token is clipped
    advantage: Shaper = Grpo(kl=0)

    def __post_init__(self) -> None:
        check_advantage(self)

    @property
    def loss(self) -> Loss:
        terms = (KlCov(share=self.kl_cov_share, weight=self.kl_cov),) if self.kl_cov_share else ()
        low, high = (1.0, math.inf) if self.clip is None else (self.clip, self.clip)
        return replace(self.advantage.loss, clip_low=low, clip_high=high, terms=terms)

    def cut(self, rollouts: Rollouts, state: State = STATELESS) -> Ints:
        """Return lengths to cut to, [B]; what is not cut keeps its own."""
        length = rollouts.length
        begin = np.floor(outlier_length(rollouts, self.alpha))
        by_share = 0 < self.margin < 1
        margin = np.maximum(16.0, np.floor(self.margin * length)) if by_share else math.floor(self.margin)
        cut = rollouts.groups.all(rollouts.correct) & (rollouts.groups.size > 1) & (length - begin >= margin)
        return np.where(cut, begin, length).astype(np.int64)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        keep = differs(rollouts, rollouts.reward)
        return self.advantage(rollouts).keeping(keep).noted(kept=float(keep.mean()))


def outlier_length(rollouts: Rollouts, alpha: float = 3.0, *, ddof: int = 1) -> Floats:
    """Return where an outlier begins in each rollout's group, tokens, [B]."""
    groups, length = rollouts.groups, rollouts.length
    return groups.mean(length) + alpha * groups.std(length, ddof=ddof)


def kl_cov_tokens(advantage: Floats, logprob: Floats, mask: Bools, share: float = 0.002) -> Bools:
    """Return the tokens of highest covariance (A - mean A)(log p - mean log p) among all valid ones: at least one."""
    valid = np.asarray(mask, dtype=np.bool_)
    chosen = np.zeros(valid.shape, dtype=np.bool_)
    if not valid.any():
        return chosen
    a, p = np.broadcast_to(advantage, valid.shape)[valid], logprob[valid]
    covariance = (a - a.mean()) * (p - p.mean())
    top = np.argsort(-covariance, kind="stable")[: max(int(share * covariance.size), 1)]
    flat = np.flatnonzero(valid)[top]
    chosen.reshape(-1)[flat] = True
    return chosen
