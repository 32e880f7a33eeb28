"""What a shaper asks of the loss, in torch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from satisfice.core.loss_term import PolicyLoss, Tokens
from satisfice.core.shaper import Loss


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
    low, high = (ratio < 1 - loss.clip_low), (ratio > 1 + loss.clip_high)
    clipped = ((low & (part.advantage < 0)) | (high & (part.advantage > 0))).expand_as(mask)
    further: Tensor | float = 0.0
    told: dict[str, float] = {}
    for term in loss.terms:
        added = term(part, PolicyLoss(each=policy, change=change, clipped=clipped))
        policy = policy if added.each is None else added.each
        further = further + added.total
        told |= added.metrics
    share = part.share
    if loss.top_entropy < 1 and mask.any():
        entropy = _there("entropy", part.entropy).detach()
        share = share * (entropy >= torch.quantile(entropy[mask].float(), 1 - loss.top_entropy))
    total = (share * policy).sum()
    told["policy_loss"] = float(total.detach())
    total = total + further
    if loss.kl and loss.kl_in == "loss":
        kl = divergence(loss.kl_kind, torch.where(mask, _there("reference", part.reference) - part.logprob, 0.0))
        total = total + loss.kl * (part.plain_share * kl).sum()
        told["kl"] = _mean(kl, mask)
    if loss.entropy:
        entropy = torch.where(mask, _there("entropy", part.entropy), 0.0)
        total = total - loss.entropy * (_there("entropy_share", part.entropy_share) * entropy).sum()
    if part.entropy is not None:
        told["entropy"] = _mean(part.entropy, mask)
    if loss.ratio != "none":
        told["clip_share"] = _mean(clipped, mask)
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


def _there(name: str, values: Tensor | None) -> Tensor:
    if values is None:
        raise ValueError(f"this loss reads {name}, which the trainer did not compute")
    return values


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
