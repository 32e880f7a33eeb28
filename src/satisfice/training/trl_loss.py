"""What a shaper asks of the loss, in torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from satisfice.core.errors import Unfit
from satisfice.core.shaper import Loss
from satisfice.methods.shaping.dot import kl_cov_tokens
from satisfice.methods.shaping.spear import clip_cov_tokens

TERMS = frozenset({"clip-cov", "kl-cov", "mode-margin", "trust-region", "value"})
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
    brief: Tensor | None = None  # [b] log-probability, with gradient, of the token that chooses the brief mode
    wanted_mode: Tensor | None = None  # [b] 1: think, -1: be brief, 0: no matter; over the rows of the whole batch


def check_terms(loss: Loss, method: str) -> None:
    """Raise `Unfit` when a method wants a term of the loss that is not known here."""
    if unknown := sorted(set(loss.terms) - TERMS):
        raise Unfit(
            f"{method} adds {', '.join(unknown)} to the loss, which the TRL adapter does not compute. It knows "
            f"{', '.join(sorted(TERMS))}. Choose another method or write the term into satisfice.training.trl_loss."
        )


def batch_loss(loss: Loss, part: Tokens) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a part of the batch, to be added to that of the others, and what to log about it."""
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
    if "clip-cov" in loss.terms:
        share = share * _without_clip_cov(loss, ratio, part)
    if loss.top_entropy < 1 and mask.any():
        line = torch.quantile(part.entropy.detach()[mask].float(), 1 - loss.top_entropy)
        share = share * (part.entropy.detach() >= line)
    total = (share * policy).sum()
    told = {"policy_loss": float(total.detach())}
    if loss.kl and loss.kl_in == "loss":
        assert part.reference is not None
        kl = divergence(loss.kl_kind, torch.where(mask, part.reference - part.logprob, 0.0))
        total = total + loss.kl * (part.plain_share * kl).sum()
        told["kl"] = _mean(kl, mask)
    if loss.entropy:
        total = total - loss.entropy * (part.entropy_share * torch.where(mask, part.entropy, 0.0)).sum()
    if "trust-region" in loss.terms:
        total = total + _trust_region(loss.terms["trust-region"], change, mask) * part.plain_share.sum()
    if "mode-margin" in loss.terms:
        assert part.brief is not None
        assert part.wanted_mode is not None
        term = loss.terms["mode-margin"]
        hinge = mode_hinge(part.brief, part.wanted_mode, term["margin"]).sum()
        total = total + term["weight"] * hinge
        told["mode_hinge"] = float(hinge.detach())
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
    """Return the clipped loss of each token: `Loss.token_loss` with gradients."""
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


def mode_hinge(brief: Tensor, wanted: Tensor, margin: float) -> Tensor:
    """Return how far the wanted mode falls short of being ahead by the margin, times how much the row weighs, [b].

    The score of the brief mode's token stands against those of all other tokens together: their difference is the
    log-odds of the token. `wanted` is above 0 where thinking is wanted and below where brevity is; its size is the
    row's weight.

    >>> mode_hinge(torch.tensor([0.5]).log(), torch.tensor([-1.0]), 1.0)
    tensor([1.])
    """
    odds = brief - torch.log(-torch.expm1(brief.clamp(max=-1e-6)))
    return wanted.abs() * torch.relu(margin + odds * torch.sign(wanted))


def _without_clip_cov(loss: Loss, ratio: Tensor, part: Tokens) -> Tensor:
    """1 for every token but those that are left out for their covariance."""
    term, mask = loss.terms["clip-cov"], np.asarray(part.mask.cpu().numpy(), dtype=np.bool_)
    advantage = part.advantage.detach()
    clipped = ((ratio < 1 - loss.clip_low) & (advantage < 0)) | ((ratio > 1 + loss.clip_high) & (advantage > 0))
    chosen = clip_cov_tokens(
        advantage.double().cpu().numpy(), part.logprob.detach().double().cpu().numpy(), mask,
        clipped.expand(mask.shape).cpu().numpy(), share=term["share"], low=term["low"], high=term["high"],
        seed=int(mask.sum()),
    )  # fmt: skip
    return torch.from_numpy(~chosen).to(part.share.device, part.share.dtype)


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


def cropped(inputs: dict[str, Any]) -> dict[str, Any]:
    """A part of the batch without the columns in which none of its rows has a token: padding costs as much as text."""
    prompt, completion = inputs["prompt_mask"], inputs["completion_mask"]
    begin = prompt.shape[1] - max(1, int(prompt.sum(1).max()))
    end = max(1, int(completion.sum(1).max()))
    cut: dict[str, Callable[[Tensor], Tensor]] = {
        "prompt_ids": lambda x: x[:, begin:],
        "prompt_mask": lambda x: x[:, begin:],
    }
    wide = completion.shape

    def crop(name: str, value: Any) -> Any:
        if name in cut:
            return cut[name](value)
        return value[:, :end] if isinstance(value, Tensor) and value.shape == wide else value

    return {name: crop(name, value) for name, value in inputs.items()}


def by_length(
    through: Callable[[Tensor, Tensor, int], Sequence[Tensor | None]], ids: Tensor, there: Tensor, kept: int, rows: int
) -> list[Tensor | None]:
    """What `through(ids, there, kept)` says of each row, with only so many rows of about the same length at a time.

    `ids` and `there`, where a token is, are [b, P + kept]: prompts padded on the left, completions on the right. Each
    lot is as wide as its longest row, so that padding costs next to nothing. Results are [b, kept], in the order of the
    rows, 0 beyond a lot's longest completion.
    """
    order = torch.argsort(there.sum(1), stable=True)
    prompt, completion = there[:, :-kept].sum(1), there[:, -kept:].sum(1)
    begin = there.shape[1] - kept
    lots = []
    for some in order.split(rows):
        first, last = begin - max(1, int(prompt[some].max())), max(1, int(completion[some].max()))
        spot = slice(first, begin + last)
        told = through(ids[some, spot], there[some, spot], last)
        lots.append([None if x is None else torch.nn.functional.pad(x, (0, kept - last)) for x in told])
    back = torch.argsort(order)
    return [None if column[0] is None else torch.cat(column)[back] for column in zip(*lots, strict=True)]


def old_logprobs(inputs: Mapping[str, Any], logprob: Tensor) -> Tensor:
    """Log-probabilities under the policy that sampled: before this update, or as a remembered rollout brought them."""
    old: Tensor = inputs.get("old_per_token_logps", logprob.detach())
    if "behaviour" in inputs:
        old = torch.where(torch.isnan(inputs["behaviour"]), old, inputs["behaviour"])
    return old
