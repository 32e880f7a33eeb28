"""From the name of a model to a folder that every engine can load: bundled, on disk, or made once and kept."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from satisfice.core.errors import BadInput, CannotWrite
from satisfice.models.names import last_part

BUNDLED = {"pocket": "models/pocket"}
MADE = ("smollm2",)  # made from another package's weights when they are first asked for
_MARKED = 1 << 20  # bytes at either end of a file of weights


def model_folder(model: str) -> Path:
    """Return the folder of a model: bundled (`pocket`), known by name (`smollm2`), on disk, or one with a LoRA adapter.

    `BASE+ADAPTER` is the model BASE with ADAPTER merged into its weights; ADAPTER is a folder that peft wrote, or the
    name of one that comes with satisfice (`smollm2+reasoning`), and BASE may have an adapter itself. With
    `+valve(alpha=0.5)` behind it the adapter counts for so much; 1 is as it was trained. What has to be
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
    base, part = last_part(model)
    if part.endswith(")") and not Path(part).is_dir():
        from satisfice.models.adapters import adapted, adapter_folder, valve

        alpha = valve(part)
        before, adapter = last_part(base)
        if not adapter or adapter.endswith(")"):
            raise BadInput(
                f"model {model!r}: valve opens an adapter, so one must stand before it: BASE+ADAPTER+{part}."
            )
        return adapted(before, model_folder(before), adapter_folder(before, adapter), alpha)
    if part:
        from satisfice.models.adapters import adapted, adapter_folder

        return adapted(base, model_folder(base), adapter_folder(base, part))
    raise BadInput(
        f"model {model!r} is neither a bundled model ({', '.join((*BUNDLED, *MADE))}) nor a folder. Give the path of "
        "a folder with config.json, a tokenizer and *.safetensors; an adapter's follows a plus sign: smollm2+FOLDER."
    )


def cache_folder() -> Path:
    """Return where what is made once is kept: `$XDG_CACHE_HOME/satisfice`, or `~/.cache/satisfice`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "satisfice"


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder `models/NAME` of the cache, made by `make` unless it is there: whole or not at all.

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
    """Return a mark of the weights in a folder, so that a run does not go on with others than it began with.

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


def check_folder(folder: Path) -> None:
    """Refuse what cannot or must not be loaded, before anything is read."""
    if not (folder / "config.json").is_file():
        raise BadInput(f"model folder {folder} has no config.json; it must hold config, tokenizer and *.safetensors.")
    if not list(folder.glob("*.safetensors")):
        pickled = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"})
        if pickled:
            raise BadInput(
                f"model folder {folder} has only pickled weights ({', '.join(pickled)}), which can run code when they "
                "are loaded. Convert them to safetensors on a machine you trust."
            )
        raise BadInput(f"model folder {folder} has no *.safetensors weights.")
