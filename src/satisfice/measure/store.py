"""A run's folder: samples are appended and synced, the rest is replaced whole, nothing of another run is touched."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from satisfice.core.errors import BadInput, CannotWrite
from satisfice.core.files import append_synced, changes, clean, complete_bytes, lock_file, replace_file

SCHEMA_VERSION = 1
SAMPLES, RESULTS = "samples.jsonl", "results.json"


class RunFolder:
    """The files of one run. Open it as a context manager: `samples.jsonl` is then locked for this process.

    A run that was killed continues: a last line without its end is dropped, complete ones are kept. A folder that holds
    something else, or a run with another config, is refused before anything is written.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self.path, self.config = path, dict(config)
        self._file: int | None = None
        self._size = 0  # bytes of samples.jsonl that are complete rows

    def check(self) -> None:
        """Raise `BadInput` unless a run with this config may begin or go on here. Writes nothing."""
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"out: {self.path} is a file. Give a folder for the run.")
        there = [p.name for p in self.path.iterdir() if not p.name.startswith(".")] if self.path.is_dir() else []
        if there and RESULTS not in there:
            raise BadInput(
                f"out: {self.path} is not empty and holds no run ({', '.join(sorted(there)[:3])}). Give a new folder."
            )
        if there:
            changed = changes(read_results(self.path)["config"], self.config)
            if changed:
                raise BadInput(
                    f"out: {self.path} holds a run with another config ({'; '.join(changed)}). "
                    "Give another folder, or the same settings to go on with that run. Nothing was written."
                )
        nearest = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise BadInput(f"out: {nearest} is not writable. Give a folder that is.")

    def samples(self) -> Iterator[dict[str, Any]]:
        """The complete rows that are on disk, in the order in which they were finished."""
        with contextlib.suppress(FileNotFoundError):
            yield from read_samples(self.path)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add samples; they are on disk when this returns. After an error none of a torn row remains."""
        assert self._file is not None
        data = "".join(json.dumps(clean(row), allow_nan=False) + "\n" for row in rows).encode()
        try:
            append_synced(self._file, data)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise CannotWrite(
                f"{self.path / SAMPLES}: {error.strerror}. The samples reported so far are safe there. "
                "Make room and give the same command again: it goes on from here."
            ) from error
        self._size += len(data)

    def write_results(self, environment: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Replace `results.json` whole: a reader sees the old one or the new one."""
        results = {
            "schema_version": SCHEMA_VERSION, "config": self.config, "environment": dict(environment), "rows": rows,
        }  # fmt: skip
        results = dict(clean(results))
        target = self.path / RESULTS
        try:
            replace_file(target, json.dumps(results, indent=1, allow_nan=False) + "\n")
        except OSError as error:
            raise CannotWrite(
                f"{target}: {error.strerror}. The samples are safe in {SAMPLES}. "
                "Make room and give the same command again."
            ) from error
        return results

    def __enter__(self) -> Self:
        self.check()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not (self.path / RESULTS).exists():
                self.write_results({}, [])  # the config first: whatever is found later is known by it
            self._file = os.open(self.path / SAMPLES, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise CannotWrite(f"out: {self.path}: {error.strerror}. Give a folder that can be written.") from error
        try:
            lock_file(self._file, self.path)
            self._size = complete_bytes(self.path / SAMPLES)
            os.ftruncate(self._file, self._size)
        except BaseException:
            os.close(self._file)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_results(path: Path) -> dict[str, Any]:
    """The `results.json` of a run, or `BadInput` when there is none or it is not ours."""
    file = path / RESULTS
    try:
        results = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path} holds no run: there is no {RESULTS} in it. Give the --out folder of a run.") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read: {error}. Give the --out folder of a run.") from error
    if not isinstance(results, dict) or not isinstance(results.get("config"), dict):
        raise BadInput(f"{file} is not the result of a run. Give the --out folder of a run.")
    if results.get("schema_version") != SCHEMA_VERSION:
        raise BadInput(
            f"{file} has schema_version {results.get('schema_version')!r}, and this release reads {SCHEMA_VERSION}. "
            "Use the release that wrote it."
        )
    return results


def read_samples(path: Path) -> Iterator[dict[str, Any]]:
    """The complete rows of a run's `samples.jsonl`; `BadInput` names a line that is none.

    Failed samples come last, and only those that were not done again afterwards.
    """
    failed: dict[tuple[Any, ...], dict[str, Any]] = {}
    with (path / SAMPLES).open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):  # the run was killed while it wrote this, or writes it now
                break
            try:
                row = json.loads(line)
                key = row["policy"], row["task"], row["problem"], row["seed"]
            except (ValueError, TypeError, KeyError) as error:
                raise BadInput(
                    f"{path / SAMPLES} line {number} is no sample ({error}). The file was changed: remove that line."
                ) from error
            failed.pop(key, None)
            if row.get("error"):
                failed[key] = row
            else:
                yield row
    yield from failed.values()
