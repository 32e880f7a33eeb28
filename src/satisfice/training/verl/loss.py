"""What a shaper asks of the policy loss, as one of verl's policy losses: `loss_mode=satisfice`.

verl's own losses bound the loss of bad tokens at three times their advantage, have no plain likelihood, and average a
covariance term otherwise than its source; this one computes what `core.shaper.Loss` says. Averaging, the divergence
from the reference policy and the entropy bonus stay verl's, with the settings of `settings.py`.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from verl.trainer.ppo.core_algos import agg_loss
from verl.workers.config import PolicyLossConfig

from satisfice.catalog import build
from satisfice.core.errors import BadInput
from satisfice.core.loss_term import Tokens
from satisfice.core.shaper import SHAPER, Loss
from satisfice.training.trl_loss import batch_loss

MODE = "satisfice"


@dataclass
class ShapedPolicyLoss(PolicyLossConfig):
    """verl's settings of a policy loss, and the shaper whose loss it is."""

    shaper: str = ""


def policy_loss(
    old_log_prob: Tensor,
    log_prob: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    loss_agg_mode: str = "token-mean",
    config: Any = None,
    rollout_is_weights: Tensor | None = None,
    **rest: Any,
) -> tuple[Tensor, dict[str, Any]]:
    """The loss of a micro-batch and what to log, in verl's form; tensors have shape [b, T], log-probabilities in nats.

    Raises:
        BadInput: the settings do not name a shaper.
    """
    spec = getattr(config.policy_loss, "shaper", "")
    if not spec:
        raise BadInput(
            f"loss_mode={MODE} must know whose loss it is: set actor_rollout_ref.actor.policy_loss._target_="
            "satisfice.training.verl.loss.ShapedPolicyLoss and +actor_rollout_ref.actor.policy_loss.shaper."
        )
    share = shares(response_mask, loss_agg_mode, config.global_batch_info)
    if rollout_is_weights is not None:
        share = share * rollout_is_weights
    total, told = batch_loss(
        loss_of(spec),
        Tokens(
            logprob=log_prob, old_logprob=old_log_prob, mask=response_mask, advantage=advantages, share=share,
            plain_share=share,
        ),
    )  # fmt: skip
    mask = response_mask.bool()
    change = torch.where(mask, old_log_prob - log_prob.detach(), 0.0)
    return total, {
        "actor/pg_clipfrac": told.get("clip_share", 0.0),
        "actor/ppo_kl": float(change.sum() / mask.sum().clamp(min=1)),
    }


def shares(mask: Tensor, mode: str, batch: Any) -> Tensor:
    """Return how much each token's loss weighs in verl's average, whatever its mode: the average's own gradient."""
    with torch.enable_grad():
        ones = torch.ones(mask.shape, device=mask.device, requires_grad=True)
        (found,) = torch.autograd.grad(agg_loss(loss_mat=ones, loss_mask=mask, loss_agg_mode=mode, **batch), ones)
    return found


@lru_cache(64)
def loss_of(spec: str) -> Loss:
    """Return the part of a shaper's loss that is computed here."""
    shaper = build(spec, SHAPER, allow_files=True)
    return replace(shaper.loss, kl=0.0, entropy=0.0)
