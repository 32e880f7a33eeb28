"""From the name of a model to a folder that every engine can load: bundled, on disk, or made once and kept."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from satisfice.core.errors import BadInput, CannotWrite, MissingExtra

BUNDLED = {"pocket": "models/pocket"}
MADE = ("smollm2",)  # made from another package's weights when they are first asked for
ADAPTED = ("profile.json", "chat_template.jinja", "generation_config.json")  # of an adapter, in place of its base's
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", *ADAPTED)
_MARKED = 1 << 20  # bytes at either end of a file of weights


def model_folder(model: str) -> Path:
    """The folder of a model: bundled (`pocket`), known by name (`smollm2`), on disk, or one with a LoRA adapter.

    `BASE+ADAPTER` is the model BASE with ADAPTER merged into its weights; ADAPTER is a folder that peft wrote, or the
    name of one that comes with satisfice (`smollm2+reasoning`), and BASE may have an adapter itself. What has to be
    made is made once and kept in the user's cache folder, where nothing is ever written over.

    Raises:
        BadInput: there is no such model.
        MissingExtra: it cannot be made without packages that are not installed.
        CannotWrite: the cache folder cannot be written.
    """
    folder = Path(str(files("satisfice").joinpath(BUNDLED[model]))) if model in BUNDLED else Path(model).expanduser()
    if folder.is_dir():
        return folder
    if model == "smollm2":
        from satisfice.models.convert import smollm2_folder

        return smollm2_folder()
    base, plus, adapter = model.rpartition("+")
    if plus and base and adapter:
        return _adapted(base, model_folder(base), _adapter_folder(base, adapter))
    raise BadInput(
        f"model {model!r} is neither a bundled model ({', '.join((*BUNDLED, *MADE))}) nor a folder. Give the path of "
        "a folder with config.json, a tokenizer and *.safetensors; an adapter's follows a plus sign: smollm2+FOLDER."
    )


def cache_folder() -> Path:
    """Where what is made once is kept: `$XDG_CACHE_HOME/satisfice`, or `~/.cache/satisfice`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "satisfice"


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `models/NAME` of the cache, made by `make` unless it is there: whole or not at all.

    `make` fills an empty folder beside it, which then takes the name in one move. Two processes that begin at the same
    time both do the work, and the second one's is thrown away.
    """
    target = cache_folder() / "models" / name
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{name}.part-", dir=target.parent, ignore_cleanup_errors=True) as part:
            made = Path(part) / name
            made.mkdir()
            make(made)
            if not (made / "config.json").is_file():
                # transformers' `save_pretrained` does nothing in any but the first process of a distributed job.
                raise CannotWrite(
                    f"the model {name} has to be made, which only the first process of a distributed job can do. Let "
                    "that one come first, or load the model once before the job begins."
                )
            with contextlib.suppress(FileExistsError):
                _rename(made, target)
    except OSError as error:
        raise CannotWrite(
            f"the model {name} cannot be kept in {target.parent}: {error}. Make room there, or set XDG_CACHE_HOME to a "
            "folder with room."
        ) from error
    return target


def _rename(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        if not target.is_dir():  # somebody else was quicker: a folder that holds something is never replaced
            raise


def weights_mark(folder: Path) -> str:
    """A mark of the weights in a folder, so that a run does not go on with others than it began with.

    It is the hash of names, sizes and the ends of the files: training changes those too, and large files stay quick.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            size = file.seek(0, 2)
            digest.update(f"{path.name} {size} ".encode())
            for begin in (0, max(0, size - _MARKED)):
                file.seek(begin)
                digest.update(file.read(_MARKED))
    return digest.hexdigest()[:16]


def _adapter_folder(base: str, adapter: str) -> Path:
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


def _adapted(name: str, base: Path, adapter: Path) -> Path:
    """The base with the adapter merged into its weights, as a folder like any other."""
    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    if config.get("peft_type") != "LORA":
        raise BadInput(f"{adapter} is a {config.get('peft_type')} adapter; only LORA can be merged into the weights.")
    mark = hashlib.sha256(f"{weights_mark(base)} {weights_mark(adapter)} {json.dumps(config, sort_keys=True)}".encode())
    for file in sorted(adapter / own for own in ADAPTED):
        mark.update(file.read_bytes() if file.is_file() else b"-")

    def make(target: Path) -> None:
        try:
            from peft import PeftModel
            from transformers import AutoModelForCausalLM
        except ModuleNotFoundError as error:
            raise MissingExtra("merging an adapter", "smollm2") from error
        model = AutoModelForCausalLM.from_pretrained(
            base, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype="auto"
        )
        merged = PeftModel.from_pretrained(model, str(adapter), local_files_only=True).merge_and_unload()
        merged.save_pretrained(target, safe_serialization=True)
        for source in (base, adapter):
            for file in _TOKENIZER if source is base else ADAPTED:
                if (source / file).is_file():
                    shutil.copyfile(source / file, target / file)

    return made_once(f"{Path(name).name}+{adapter.name}-{mark.hexdigest()[:12]}", make)
