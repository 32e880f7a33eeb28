"""What a shaper asks of the loss, in torch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from satisfice.core.errors import Unfit
from satisfice.core.shaper import Loss
from satisfice.shaping.dot import kl_cov_tokens

TERMS = frozenset({"kl-cov", "trust-region", "value"})
"""The named terms of a loss that this adapter computes."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Some rollouts of a batch, token by token; every field has shape [b, T], log-probabilities and entropies in nats.

    The shares say how much each token weighs in an average over the whole batch: over all its parts they sum to about
    one, so that the losses of parts simply add up.
    """

    logprob: Tensor  # with gradient
    old_logprob: Tensor  # under the policy that sampled
    entropy: Tensor  # with gradient
    mask: Tensor  # a token of the policy
    advantage: Tensor
    share: Tensor  # of the policy loss: `Loss.share` times the shaper's weight
    plain_share: Tensor  # of the divergence: without the weight
    entropy_share: Tensor  # of the entropy bonus: times the shaper's entropy weight
    reference: Tensor | None = None  # log-probabilities under the reference policy
    value: Tensor | None = None  # of a value head, with gradient
    value_target: Tensor | None = None  # what it should have been
    value_share: Tensor | None = None  # of its squared error: `Loss.share` times the shaper's value weight


def check_terms(loss: Loss, method: str) -> None:
    """Raise `Unfit` when a method wants a term of the loss that is not known here."""
    if unknown := sorted(set(loss.terms) - TERMS):
        raise Unfit(
            f"{method} adds {', '.join(unknown)} to the loss, which the TRL adapter does not compute. It knows "
            f"{', '.join(sorted(TERMS))}. Choose another method or write the term into satisfice.training.trl_loss."
        )


def batch_loss(loss: Loss, part: Tokens) -> tuple[Tensor, dict[str, float]]:
    """The loss of a part of the batch, to be added to that of the others, and what to log about it."""
    mask = part.mask.bool()
    # Where there is no token, log-probabilities mean nothing: kept out before anything is raised to a power.
    change = torch.where(mask, part.logprob - part.old_logprob, 0.0)
    if loss.ratio == "sequence":
        change = change.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    ratio = torch.exp(change)
    logprob = torch.where(mask, part.logprob, 0.0)
    policy = -part.advantage * logprob if loss.ratio == "none" else token_loss(loss, ratio, part.advantage)
    share = part.share
    if "kl-cov" in loss.terms:
        policy = _with_kl_cov(loss.terms["kl-cov"], policy, change, part)
    if loss.top_entropy < 1 and mask.any():
        line = torch.quantile(part.entropy.detach()[mask].float(), 1 - loss.top_entropy)
        share = share * (part.entropy.detach() >= line)
    total = (share * policy).sum()
    told = {"policy_loss": float(total.detach())}
    if loss.kl:
        assert part.reference is not None
        kl = divergence(loss.kl_kind, torch.where(mask, part.reference - part.logprob, 0.0))
        total = total + loss.kl * (part.plain_share * kl).sum()
        told["kl"] = _mean(kl, mask)
    if loss.entropy:
        total = total - loss.entropy * (part.entropy_share * torch.where(mask, part.entropy, 0.0)).sum()
    if "trust-region" in loss.terms:
        total = total + _trust_region(loss.terms["trust-region"], change, mask) * part.plain_share.sum()
    if "value" in loss.terms:
        assert part.value is not None
        assert part.value_target is not None
        assert part.value_share is not None
        error = (part.value_share * torch.where(mask, part.value - part.value_target, 0.0) ** 2).sum()
        total = total + loss.terms["value"]["weight"] * error
        told["value_loss"] = float(error.detach())
    told["entropy"] = _mean(part.entropy, mask)
    if loss.ratio != "none":
        low, high = (ratio < 1 - loss.clip_low), (ratio > 1 + loss.clip_high)
        clipped = (low & (part.advantage < 0)) | (high & (part.advantage > 0))
        told["clip_share"] = _mean(clipped.expand_as(mask), mask)
    return total, told


def token_loss(loss: Loss, ratio: Tensor, advantage: Tensor) -> Tensor:
    """The clipped loss of each token: `Loss.token_loss` with gradients."""
    clipped = ratio.clamp(1 - loss.clip_low, 1 + loss.clip_high)
    found = torch.maximum(-ratio * advantage, -clipped * advantage)
    if loss.dual_clip is None:
        return found
    return torch.where(advantage < 0, torch.minimum(found, -loss.dual_clip * advantage), found)


def divergence(kind: str, change: Tensor) -> Tensor:
    """Estimates of the divergence from the reference policy, from d = log p_ref - log p.

    >>> [round(float(divergence(kind, torch.tensor(0.5))), 4) for kind in ("k1", "k2", "k3")]
    [-0.5, 0.125, 0.1487]
    """
    match kind:
        case "k1":
            return -change
        case "k2":
            return change**2 / 2
        case _:
            return torch.exp(change) - change - 1


def _with_kl_cov(term: Mapping[str, float], policy: Tensor, change: Tensor, part: Tokens) -> Tensor:
    """In place of the clipped loss, for the tokens of highest covariance of this part: -A rho + weight |log rho|."""
    chosen = kl_cov_tokens(
        part.advantage.detach().double().cpu().numpy(), part.logprob.detach().double().cpu().numpy(),
        np.asarray(part.mask.cpu().numpy(), dtype=np.bool_), term["share"],
    )  # fmt: skip
    held = -part.advantage * torch.exp(change) + term["weight"] * change.abs()
    return torch.where(torch.from_numpy(chosen).to(policy.device), held, policy)


def _trust_region(term: Mapping[str, float], change: Tensor, mask: Tensor) -> Tensor:
    """max(weight (K - radius), 0), held constant, times K, the mean of log p_old - log p_new over the part's tokens."""
    k = -(change * mask).sum() / mask.sum().clamp(min=1)
    return (term["weight"] * (k.detach() - term["radius"])).clamp(min=0) * k


def _mean(values: Tensor, mask: Tensor) -> float:
    return float(torch.where(mask, values.detach(), 0.0).sum() / mask.sum().clamp(min=1))
