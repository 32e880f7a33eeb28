"""A model with a LoRA adapter: its weights with the adapter's merged into them, as a folder like any other."""

import hashlib
import json
import math
import shutil
from importlib.resources import files
from pathlib import Path

from satisfice.core.errors import BadInput, MissingExtra, UnknownName
from satisfice.core.spec import parse
from satisfice.models.resolve import MADE, made_once, weights_mark

ADAPTED = ("profile.json", "chat_template.jinja", "generation_config.json")  # of an adapter, in place of its base's
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", *ADAPTED)


def adapter_folder(base: str, adapter: str) -> Path:
    """Return the folder of an adapter of a base: one that comes with satisfice, or one that peft wrote.

    Raises:
        BadInput: there is none.
    """
    home = _adapters_home(base)
    named = home / adapter if home else None
    folder = named if named is not None and named.is_dir() else Path(adapter).expanduser()
    if not (folder / "adapter_config.json").is_file() or not (folder / "adapter_model.safetensors").is_file():
        known = _known_adapters(base)
        raise BadInput(
            f"adapter {adapter!r} of {base}: no folder {folder} with adapter_config.json and adapter_model.safetensors"
            f"{', and none of that name comes with satisfice' if home else ''}"
            f"{' (there are: ' + ', '.join(known) + ')' if known else ''}. Give a folder that peft wrote."
        )
    return folder


def _adapters_home(base: str) -> Path | None:
    """Where those adapters of a base lie that come with satisfice: one on top of another lies in the other's folder."""
    first, *adapters = base.split("+")
    if first not in MADE or any(Path(name).name != name for name in adapters):  # folders have nothing of ours on top
        return None
    return Path(str(files("satisfice").joinpath("models", first, *adapters)))


def _known_adapters(base: str) -> list[str]:
    home = _adapters_home(base)
    return sorted(path.parent.name for path in home.glob("*/adapter_config.json")) if home and home.is_dir() else []


def valve(part: str) -> float:
    """Return alpha of `valve(alpha=0.5)`: how far the adapter before it is opened. 1 is as trained, 0 not at all.

    Above 1 goes on in the same direction, to chains shorter than any that were seen (CoT-Valve, arXiv:2502.09601).

    Raises:
        BadInput: another transform, or no number.

    >>> valve("valve(alpha=0.5)")
    0.5
    """
    spec = parse(part, "transform", "valve(alpha=0.5)")
    field, _, value = spec.parts[0].partition("=") if len(spec.parts) == 1 else ("", "", "")
    if spec.name != "valve":
        raise UnknownName("transform", spec.name, ["valve"])
    try:
        alpha = float(value)
    except ValueError:
        alpha = math.nan
    if field.strip() != "alpha" or not math.isfinite(alpha):
        raise BadInput(f"transform {part!r}: valve takes one number, such as valve(alpha=0.5).")
    return alpha


def adapted(name: str, base: Path, adapter: Path, alpha: float = 1.0) -> Path:
    """Return the base with the adapter merged into its weights, `alpha` times, as a folder like any other."""
    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    if config.get("peft_type") != "LORA":
        raise BadInput(f"{adapter} is a {config.get('peft_type')} adapter; only LORA can be merged into the weights.")
    mark = hashlib.sha256(f"{weights_mark(base)} {weights_mark(adapter)} {json.dumps(config, sort_keys=True)}".encode())
    if alpha != 1:
        mark.update(repr(alpha).encode())
    for file in sorted(adapter / own for own in ADAPTED):
        mark.update(file.read_bytes() if file.is_file() else b"-")

    def make(target: Path) -> None:
        try:
            from peft import PeftModel
            from peft.helpers import rescale_adapter_scale
            from transformers import AutoModelForCausalLM
        except ModuleNotFoundError as error:
            raise MissingExtra("merging an adapter", "smollm2") from error
        model = AutoModelForCausalLM.from_pretrained(
            base, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype="auto"
        )
        with_both = PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
        with rescale_adapter_scale(with_both, alpha):
            merged = with_both.merge_and_unload()
        merged.save_pretrained(target, safe_serialization=True)
        for source in (base, adapter):
            for file in _TOKENIZER if source is base else ADAPTED:
                if (source / file).is_file():
                    shutil.copyfile(source / file, target / file)

    return made_once(f"{Path(name).name}+{adapter.name}-{mark.hexdigest()[:12]}", make)
