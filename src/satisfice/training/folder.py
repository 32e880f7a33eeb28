"""The folder of a training: locked while it is at work, whole at every moment, with a model in it at the end."""

import contextlib
import fcntl
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from satisfice.core.errors import BadInput, CannotWrite
from satisfice.core.files import replace_file
from satisfice.training.adapter import save_adapter
from satisfice.training.value_head import without_value_head

SCHEMA_VERSION = 1
RUN, STEPS, MODEL = "train.json", "steps.jsonl", "model"


@contextlib.contextmanager
def open_folder(out: Path, config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the record of a training, with its folder locked; refuse a folder of something else."""
    run: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "config": dict(config)}
    if (out / RUN).is_file():
        run = json.loads((out / RUN).read_text("utf-8"))
        there = run["config"]
        if "reward_range" in config:
            there = {"reward_range": "0/1", **there}  # not written before runs could choose it
        changed = sorted(key for key in {*config, *there} if config.get(key) != there.get(key))
        if changed:
            told = "; ".join(f"{key}: {there.get(key)} there, {config.get(key)} here" for key in changed[:3])
            raise BadInput(
                f"out: {out} holds a training with another config ({told}). Give another folder, or the same settings "
                "to go on with that one. Nothing was written."
            )
    elif out.exists() and (not out.is_dir() or any(not p.name.startswith(".") for p in out.iterdir())):
        raise BadInput(f"out: {out} is not an empty folder and holds no training. Give a new folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("w")
    except OSError as error:
        raise CannotWrite(f"out: {out}: {error.strerror}. Give a folder that can be written.") from error
    with lock:
        if is_first_process():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise CannotWrite(f"out: another training is at work in {out}. Wait for it or give another.") from error
            if not (out / RUN).exists():
                write_json(out / RUN, run)
        yield run


def save_model(trainer: Any, folder: Path, out: Path, name: str = MODEL, *, base: str, lora: bool) -> None:
    """Write the trained model beside everything else that its first folder had, or its adapter; whole or not at all."""
    draft = out / f".{MODEL}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    if lora:
        save_adapter(model, draft, base)
    else:
        for path in sorted(folder.iterdir()):
            text = path.suffix in {".json", ".jinja", ".txt", ".model"} and "safetensors" not in path.name
            if path.is_file() and text:
                shutil.copy(path, draft / path.name)
        without_value_head(model)
        model.save_pretrained(draft)
    for path in draft.iterdir():
        path.chmod(0o644)  # safetensors makes its files for their owner alone
    draft.replace(out / name)


def read_steps(out: Path) -> list[dict[str, Any]]:
    """Return the figures of each step so far; a torn last line is left out."""
    rows = []
    with contextlib.suppress(FileNotFoundError):
        for line in (out / STEPS).read_text("utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                rows.append(json.loads(line))
    return rows


def forget_after(path: Path, step: int) -> None:
    """Leave out the rows of steps that are done again."""
    rows = [row for row in read_steps(path.parent) if row["step"] <= step]
    replace_file(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    replace_file(path, json.dumps(value, indent=1, default=str) + "\n")


def processes_started() -> int:
    """Return how many processes this training was started with."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Return whether this process writes the files."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave out what TRL and transformers say of their own future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", ".*pin_memory.*")
        yield
