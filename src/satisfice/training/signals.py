"""What the policy says of rollouts before it is updated: a forward pass without gradients."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import use_adapter

from satisfice.training.rollout import Rollout
from satisfice.training.value_head import heard_values


def signals(
    trainer: Any, mine: Sequence[Rollout], *, values: bool, reference: bool = False
) -> list[dict[str, list[float]]]:
    """Return log-probability and entropy of each token, and where wanted its value and reference log-probability.

    Rows go through the model in parts as in training.
    """
    pad, device = trainer._tokenizer.pad_token_id, trainer.accelerator.device
    found: list[dict[str, list[float]]] = []
    for at in range(0, len(mine), size := trainer.args.per_device_train_batch_size):
        part = mine[at : at + size]
        before = max(len(rollout.prompt) for rollout in part)
        width = before + max(len(rollout.ids) for rollout in part)
        ids = torch.full((len(part), width), pad, device=device)
        mask = torch.zeros_like(ids)
        for line, there, rollout in zip(ids, mask, part, strict=True):
            spot = slice(before - len(rollout.prompt), before + len(rollout.ids))
            line[spot] = torch.tensor([*rollout.prompt, *rollout.ids])
            there[spot] = 1
        model = trainer.accelerator.unwrap_model(trainer.model) if values else None
        with torch.no_grad(), heard_values(model) as heard:
            logprob, entropy, _ = trainer._get_per_token_logps_and_entropies(
                trainer.model, ids, mask, width - before, compute_entropy=True
            )
            told = {"logprob": logprob, "entropy": entropy, "value": heard(width - before)}
            if reference:
                told["reference_logprob"] = _under_reference(trainer, ids, mask, width - before)
        for row, rollout in enumerate(part):
            end = len(rollout.ids)
            found.append({n: v[row, :end].float().tolist() for n, v in told.items() if v is not None})
    return found


def _under_reference(trainer: Any, ids: Tensor, mask: Tensor, kept: int) -> Tensor:
    """Log-probabilities under the policy that training began with: a model of its own, or this one without adapter."""
    if trainer.ref_model is not None:
        logprob: Tensor = trainer._get_per_token_logps_and_entropies(trainer.ref_model, ids, mask, kept)[0]
        return logprob
    model = trainer.accelerator.unwrap_model(trainer.model)
    with use_adapter(model, adapter_name="ref" if "ref" in model.peft_config else None):
        logprob = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, kept)[0]
    return logprob


def brief_chances(trainer: Any, model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """Log-probability, with gradient, of the first token that skips thinking after each prompt, [b]."""
    prompt, there = inputs["prompt_ids"], inputs["prompt_mask"]
    token = torch.full_like(prompt[:, :1], trainer.source.brief_token)
    ids, mask = torch.cat([prompt, token], 1), torch.cat([there, torch.ones_like(token)], 1)
    logprob: Tensor = trainer._get_per_token_logps_and_entropies(model, ids, mask, 1)[0][:, 0]
    return logprob
