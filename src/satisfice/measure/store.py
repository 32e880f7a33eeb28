"""A run's folder: samples are appended and synced, the rest is replaced whole, nothing of another run is touched."""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from satisfice.core.errors import BadInput, CannotWrite
from satisfice.core.files import append_synced, changes, clean, complete_bytes, holds, lock_file, replace_file
from satisfice.measure.samples import SCHEMA_VERSION, SampleKey, fault, key_of, upgraded, upgraded_config

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
        if holds(self.path, RESULTS, "run"):
            changed = changes(read_results(self.path)["config"], self.config)
            if changed:
                raise BadInput(
                    f"out: {self.path} holds a run with another config ({'; '.join(changed)}). "
                    "Give another folder, or the same settings to go on with that run. Nothing was written."
                )

    def samples(self) -> Iterator[dict[str, Any]]:
        """The complete rows that are on disk, in the order in which they were finished."""
        if (self.path / SAMPLES).exists():
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
    """Return the `results.json` of a run in the form of this release; `BadInput` when there is none or it is not ours.

    Its rows are as they were written. `merge.read_runs` makes them again from the samples.
    """
    file = path / RESULTS
    try:
        results = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path} holds no run: there is no {RESULTS} in it. Give the --out folder of a run.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{file} cannot be read: {error}. Give the --out folder of a run.") from error
    if not isinstance(results, dict) or not isinstance(results.get("config"), dict):
        raise BadInput(f"{file} is not the result of a run. Give the --out folder of a run.")
    version = results.get("schema_version")
    if version not in (1, SCHEMA_VERSION):
        raise BadInput(
            f"{file} has schema_version {version!r}, and this release reads 1 and {SCHEMA_VERSION}. "
            "Use the release that wrote it."
        )
    config = upgraded_config(results["config"])
    for name, (what, fits) in _CONFIG.items():
        if not fits(config.get(name)):
            raise BadInput(f"{file}: config {name!r} is {str(config.get(name))[:60]!r}, which is not {what}. {_EDITED}")
    if lacking := [task for task in config["tasks"] if task not in config["problems"]]:
        raise BadInput(f"{file}: config 'problems' says nothing of task {lacking[0]!r}. {_EDITED}")
    environment = results.get("environment")
    return {
        "schema_version": SCHEMA_VERSION, "config": config,
        "environment": environment if isinstance(environment, dict) else {},
        "rows": results["rows"] if isinstance(results.get("rows"), list) else [],
    }  # fmt: skip


def read_samples(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the complete rows of a run's `samples.jsonl` in the form of this release.

    Failed samples come last, and only those that were not done again afterwards.

    Raises:
        BadInput: there is no such file, or a line is no sample, lacks a field, or repeats the sample of another line.
            The message names the line.
    """
    file = path / SAMPLES
    config = read_results(path)["config"]
    lines: dict[SampleKey, int] = {}
    failed: dict[SampleKey, dict[str, Any]] = {}
    try:
        with file.open("rb") as source:
            for number, line in enumerate(source, 1):
                if not line.endswith(b"\n"):  # the run was killed while it wrote this, or writes it now
                    break
                row = _sample(line, f"{file} line {number}", config)
                key = key_of(row)
                if key in lines:
                    raise BadInput(
                        f"{file} line {number} is a sample of the same model, policy, task, problem and seed as line "
                        f"{lines[key]}. Remove one of the two lines."
                    )
                if row["error"]:
                    failed[key] = row
                else:
                    lines[key] = number
                    failed.pop(key, None)
                    yield row
    except FileNotFoundError:
        raise BadInput(
            f"{path} holds no samples: there is no {SAMPLES} in it. Give the --out folder of a run."
        ) from None
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}. Give the --out folder of a run.") from error
    yield from failed.values()


def _sample(line: bytes, where: str, config: Mapping[str, Any]) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("it is no JSON object")
        row = upgraded(row, config)
        wrong = fault(row)
    except (ValueError, KeyError, RecursionError) as error:
        why = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadInput(f"{where} is no sample: {why}. {_EDITED}") from error
    if wrong:
        raise BadInput(f"{where} is no sample: {wrong}. {_EDITED}")
    return row


_EDITED = "The file was changed: put it back, or run the same command into a new folder."


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_CONFIG: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "models": ("a list of names", lambda v: _texts(v) and bool(v)),
    "samplers": ("a list of texts", lambda v: _texts(v) and bool(v)),
    "baseline": ("an object with model, policy and sampler", lambda v: isinstance(v, dict) and all(
        isinstance(v.get(name), str) for name in ("model", "policy", "sampler"))),
    "shard": ("a text or null", lambda v: v is None or isinstance(v, str)),
    "tasks": ("a list of names", _texts),
    "policies": ("a list of names", _texts),
    "seeds": ("a list of whole numbers", lambda v: isinstance(v, list) and all(type(one) is int for one in v)),
    "problems": ("an object with a size for each task", lambda v: isinstance(v, dict) and all(
        isinstance(one, dict) and type(one.get("n")) is int for one in v.values())),
    "split": ("a text", lambda v: isinstance(v, str)),
    "margin": ("a fraction between 0 and 1", lambda v: type(v) in (int, float) and 0 < v < 1),
}  # fmt: skip
