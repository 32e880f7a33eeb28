"""Files that survive a kill: written whole or not at all, appended and synced, locked against a second writer."""

import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from satisfice.core.errors import BadInput


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file whole: a reader sees the old one or the new one. After an `OSError` the old one stands."""
    draft = path.with_name(f".{path.name}")
    try:
        with draft.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def append_synced(file: int, data: bytes) -> None:
    """Append bytes to an open file and wait until they are on disk."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
    os.fsync(file)


def clean(value: Any) -> Any:
    """Return a value that JSON can hold: numbers of numpy become plain, infinities and not-a-numbers null."""
    if isinstance(value, Mapping):
        return {str(key): clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(inner) for inner in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return clean(value.tolist())
    return str(value)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two configs, in words."""
    return [
        f"{name}: {before.get(name)} there, {now.get(name)} asked"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def holds(path: Path, marker: str, what: str) -> bool:
    """Return whether a folder holds `what` already (a run, a recording), which the file `marker` says. Writes nothing.

    Raises:
        BadInput: it is a file, or holds something else, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise BadInput(f"out: {path} is a file. Give a folder for the {what}.")
    there = [p.name for p in path.iterdir() if not p.name.startswith(".")] if path.is_dir() else []
    if there and marker not in there:
        names = ", ".join(sorted(there)[:3])
        raise BadInput(f"out: {path} is not empty and holds no {what} ({names}). Give a new folder.")
    nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise BadInput(f"out: {nearest} is not writable. Give a folder that is.")
    return bool(there)


def complete_bytes(path: Path) -> int:
    """Return bytes up to the end of the last complete line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - 65_536)
            file.seek(begin)
            at = file.read(end - begin).rfind(b"\n")
            if at >= 0:
                return begin + at + 1
            end = begin
        return 0


def lock_file(file: int, path: Path) -> None:
    """Lock a file of the folder `path` for this process, or raise `BadInput` when another writes there now."""
    try:
        import fcntl
    except ImportError:  # not on this system: two runs in one folder are then not told apart
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise BadInput(f"out: another run is writing to {path} now. Wait for it, or give another folder.") from error
