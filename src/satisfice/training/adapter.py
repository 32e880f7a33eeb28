"""A LoRA adapter that is trained in place of a model's weights: a few megabytes instead of a whole model."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from satisfice.core.errors import MissingExtra

ACTIVE = "default"  # peft's name of the adapter that learns; beside it TRL may keep a copy as reference


def with_adapter(model: Any, rank: int, seed: int) -> Any:
    """The model with its weights frozen and an adapter on every linear layer but the output; it changes nothing yet.

    Raises:
        MissingExtra: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        raise MissingExtra("training an adapter", "train") from error
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def plain_weights(model: Any) -> dict[str, Tensor]:
    """Return the weights that a model computes with, by the names that they have without an adapter.

    What an adapter adds is added to copies: merging it in and out again would wear the model's own weights away.
    """
    if not hasattr(model, "peft_config"):
        return dict(model.state_dict())
    base = model.get_base_model()
    weights = {
        name.replace(".base_layer.", "."): value
        for name, value in base.state_dict().items()
        if ".lora_" not in name
    }  # fmt: skip
    with torch.no_grad():
        for name, module in base.named_modules():
            if hasattr(module, "get_delta_weight"):
                weights[f"{name}.weight"] = weights[f"{name}.weight"] + module.get_delta_weight(ACTIVE)
    return weights


def save_adapter(model: Any, folder: Path, base: str) -> None:
    """Write the adapter so that `BASE+FOLDER` is the trained model; no path of the machine goes into it."""
    model.save_pretrained(folder, selected_adapters=[ACTIVE])
    (folder / "README.md").unlink(missing_ok=True)  # peft's own
    file = folder / "adapter_config.json"
    named = json.loads(file.read_text("utf-8")) | {"base_model_name_or_path": base}
    file.write_text(json.dumps(named, indent=2) + "\n", "utf-8")


def in_bfloat16(folder: Path) -> None:
    """Store an adapter's numbers in bfloat16: half the size."""
    from safetensors.torch import load_file, save_file

    weights = folder / "adapter_model.safetensors"
    save_file({name: value.to(torch.bfloat16) for name, value in load_file(weights).items()}, weights, {"format": "pt"})
