"""A tape of one run: every call that an engine answered, to run the same code again without the model.

A tape is the log of calls as JSON lines: a header, then `open`, `fork`, `extend`, `cut` and `sample` of numbered
sequences, and the pieces of text that the tokens stand for. Replay is exact: a chain with the same random key and
sampling settings gets the very tokens that were recorded after the same beginning, cut at whatever stop condition is
asked for now. What was not recorded is refused by name, never guessed. Any policy can be taped, those that inject or
change sampling too; for chains that rules are to be tried on afterwards see `satisfice.recordings.recording`.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np

from satisfice.core.card import Need
from satisfice.core.engine import Engine, Request, Sampled, Sequence
from satisfice.core.errors import BadInput, NotRecorded
from satisfice.core.profile import Profile, profile_from
from satisfice.engines.stops import find_stop

SCHEMA_VERSION = 1
_SIGNALS = ("logprobs", "entropy", "top_logprobs", "top_ids")


def _mode(request: Request) -> str:
    """Everything that decides which token comes next, but for the tokens before it."""
    bias = sorted(request.bias.items())
    key = request.key if request.temperature > 0 else 0  # greedy chains draw nothing
    return json.dumps([key, request.temperature, request.top_p, bias, repr(request.sampler) if request.sampler else ""])


class CassetteRecorder:
    """An engine that passes everything on to another and writes it down."""

    def __init__(self, engine: Engine, path: Path) -> None:
        if path.exists():
            raise BadInput(f"recording {path} exists already; nothing is written over. Choose another name.")
        self.inner = engine
        self.name, self.profile, self.end_ids = engine.name, engine.profile, engine.end_ids
        self.provides, self.max_length = engine.provides - {Need.HIDDEN}, engine.max_length
        self._path = path
        self._file: TextIO | None = None
        self._told: set[int] = set()
        self._count = 0

    def open(self, question: str, label: str) -> "_Recorded":
        inner = self.inner.open(question, label)
        return _Recorded(self, inner, {"do": "open", "question": question, "label": label, "ids": inner.ids})

    def encode(self, text: str) -> list[int]:
        ids = self.inner.encode(text)
        self._write({"do": "encode", "text": text, "ids": ids}, ids)
        return ids

    def decode(self, ids: list[int]) -> str:
        return self.inner.decode(ids)

    def piece(self, token: int) -> bytes:
        return self.inner.piece(token)

    def describe(self) -> dict[str, Any]:
        return self.inner.describe()

    def _write(self, row: dict[str, Any], ids: list[int]) -> None:
        if self._file is None:
            raise BadInput("CassetteRecorder: use it as an async context manager.")
        fresh = [i for i in ids if i not in self._told]
        self._told.update(fresh)
        if fresh:
            pieces = {i: self.inner.piece(i).hex() for i in fresh}
            self._file.write(json.dumps({"do": "pieces", "pieces": pieces}) + "\n")
        self._file.write(json.dumps(row) + "\n")

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        self._file = self._path.open("x", encoding="utf-8")
        header = {
            "do": "header", "schema_version": SCHEMA_VERSION, "engine": self.inner.describe(),
            "profile": {k: v for k, v in vars(self.profile).items() if k != "stated"},
            "end_ids": sorted(self.end_ids), "max_length": self.max_length,
        }  # fmt: skip
        self._write(header, sorted(self.end_ids))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        await self.inner.__aexit__(kind, error, trace)


class _Recorded:
    """A sequence whose calls are written down."""

    def __init__(self, recorder: CassetteRecorder, inner: Sequence, row: dict[str, Any]) -> None:
        self._recorder, self._inner = recorder, inner
        self._number = recorder._count
        recorder._count += 1
        recorder._write({**row, "n": self._number}, row.get("ids", []))

    @property
    def ids(self) -> list[int]:
        return self._inner.ids

    @property
    def last(self) -> Sampled | None:
        return self._inner.last

    def fork(self, length: int) -> "_Recorded":
        return _Recorded(self._recorder, self._inner.fork(length), {"do": "fork", "of": self._number, "length": length})

    def extend(self, ids: list[int]) -> None:
        self._inner.extend(ids)
        self._recorder._write({"do": "extend", "n": self._number, "ids": ids}, ids)

    def cut(self, length: int) -> None:
        self._inner.cut(length)
        self._recorder._write({"do": "cut", "n": self._number, "length": length}, [])

    async def sample(self, request: Request) -> Sampled:
        before = self._inner.last
        try:
            return await self._inner.sample(request)
        finally:
            got = self._inner.last
            if got is not None and got is not before:
                row: dict[str, Any] = {"do": "sample", "n": self._number, "mode": _mode(request), "ids": got.ids}
                for name in _SIGNALS:
                    if (values := getattr(got, name)) is not None:
                        row[name] = np.round(values, 6).tolist()
                self._recorder._write(row, list(got.ids))

    def close(self) -> None:
        self._inner.close()


@dataclass
class _Run:
    """One recorded call: all tokens up to its end, of which those from `begin` on were sampled."""

    ids: list[int]
    begin: int
    signals: dict[str, list[Any]]


@dataclass
class _Recording:
    header: dict[str, Any] = field(default_factory=dict)
    prompts: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    encodings: dict[str, list[int]] = field(default_factory=dict)
    pieces: dict[int, bytes] = field(default_factory=dict)
    runs: dict[str, list[_Run]] = field(default_factory=dict)

    def decode(self, ids: list[int]) -> str:
        return b"".join(self.pieces[i] for i in ids).decode("utf-8", "replace")


class CassetteEngine:
    """Serves a recording. It decodes nothing new: `NotRecorded` says what the recording lacks."""

    name = "cassette"
    provides = frozenset({Need.FORK, Need.INJECT, Need.ABORT, Need.LOGPROBS, Need.TOP_LOGPROBS, Need.ENTROPY})

    def __init__(self, path: Path) -> None:
        self._recording = _load(path)
        header = self._recording.header
        self.profile: Profile = profile_from(header["profile"], str(path))
        self.end_ids = frozenset(header["end_ids"])
        self.max_length = int(header["max_length"])

    def open(self, question: str, label: str) -> "CassetteSequence":
        ids = self._recording.prompts.get((question, label))
        if ids is None:
            raise NotRecorded(f"the recording holds no problem {label!r} with the question {question[:80]!r}")
        return CassetteSequence(self._recording, list(ids))

    def encode(self, text: str) -> list[int]:
        if text not in self._recording.encodings:
            raise NotRecorded(f"the recording holds no tokens for the text {text[:80]!r}")
        return list(self._recording.encodings[text])

    def decode(self, ids: list[int]) -> str:
        return self._recording.decode(ids)

    def piece(self, token: int) -> bytes:
        return self._recording.pieces[token]

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "recorded": self._recording.header["engine"]}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class CassetteSequence:
    """One sequence of a `CassetteEngine`."""

    def __init__(self, recording: _Recording, ids: list[int]) -> None:
        self._recording = recording
        self.ids = ids
        self.last: Sampled | None = None

    def fork(self, length: int) -> "CassetteSequence":
        return CassetteSequence(self._recording, self.ids[:length])

    def extend(self, ids: list[int]) -> None:
        self.ids.extend(ids)

    def cut(self, length: int) -> None:
        del self.ids[length:]

    async def sample(self, request: Request) -> Sampled:
        await asyncio.sleep(0)
        if request.watch is not None or request.signals.hidden:
            raise NotRecorded(
                "replay serves tokens and their log-probabilities; watches and hidden states need a model"
            )
        begin, mode = len(self.ids), _mode(request)
        since = begin if request.match_from is None else request.match_from
        columns: dict[str, list[Any]] = {name: [] for name in _SIGNALS}
        reason, cut, match = "length", None, ""
        for token, signals in self._recorded(mode):
            self.ids.append(token)
            for name, value in signals.items():
                columns[name].append(value)
            if token in request.stop_ids:
                reason = "token"
                break
            found = find_stop(self.ids, since, len(self.ids) - 1, request.stop_texts, self._recording.decode)
            if found is not None:
                reason, cut, match = "text", found.cut, found.text
                break
            if len(self.ids) - begin >= request.limit:
                break
        else:
            raise NotRecorded(
                f"the recording ends {len(self.ids) - begin} tokens into a call of sample(limit={request.limit}, "
                f"stop_texts={request.stop_texts}) at position {begin} with settings {mode}"
            )
        asked = request.signals
        wanted = {"logprobs": asked.logprobs, "entropy": asked.entropy} | dict.fromkeys(
            ("top_logprobs", "top_ids"), asked.top_logprobs > 0
        )
        n = len(self.ids) - begin
        for name, needed in wanted.items():
            if needed and len(columns[name]) != n:
                raise NotRecorded(f"the recording holds no {name} for the tokens from position {begin} on")
        kind = {"top_ids": np.int64}
        self.last = Sampled(
            ids=tuple(self.ids[begin:]), reason=reason, cut=len(self.ids) if cut is None else cut, match=match,  # type: ignore[arg-type]
            **{k: np.array(columns[k], dtype=kind.get(k, np.float32)) for k, needed in wanted.items() if needed},  # type: ignore[arg-type]
        )  # fmt: skip
        return self.last

    def _recorded(self, mode: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The tokens that were recorded after the present ones with these settings, as far as any run goes."""
        runs = self._recording.runs.get(mode, [])
        while True:
            at = len(self.ids)
            run = next((r for r in runs if r.begin <= at < len(r.ids) and r.ids[:at] == self.ids), None)
            if run is None:
                return
            for i in range(at, len(run.ids)):
                yield run.ids[i], {name: values[i - run.begin] for name, values in run.signals.items()}

    def close(self) -> None:
        return None


def _load(path: Path) -> _Recording:
    """Read a recording; every fault is a `BadInput` that names the line."""
    recording, live = _Recording(), {}  # type: _Recording, dict[int, list[int]]
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                number += 1
                _apply(recording, live, json.loads(line))
    except OSError as error:
        raise BadInput(f"recording {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"recording {path}, line {number}: not a valid row ({type(error).__name__}: {error})."
        ) from error
    if not recording.header:
        raise BadInput(f"recording {path} has no header; is it a recording?")
    return recording


def _apply(recording: _Recording, live: dict[int, list[int]], row: dict[str, Any]) -> None:
    match row["do"]:
        case "header":
            if row["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema_version {row['schema_version']}, this program reads {SCHEMA_VERSION}")
            recording.header = row
        case "pieces":
            recording.pieces.update({int(i): bytes.fromhex(piece) for i, piece in row["pieces"].items()})
        case "encode":
            recording.encodings[row["text"]] = list(row["ids"])
        case "open":
            recording.prompts[row["question"], row["label"]] = list(row["ids"])
            live[row["n"]] = list(row["ids"])
        case "fork":
            live[row["n"]] = live[row["of"]][: row["length"]]
        case "extend":
            live[row["n"]] += row["ids"]
        case "cut":
            del live[row["n"]][row["length"] :]
        case "sample":
            ids = live[row["n"]]
            begin = len(ids)
            ids += row["ids"]
            signals = {name: row[name] for name in _SIGNALS if name in row}
            recording.runs.setdefault(row["mode"], []).append(_Run(list(ids), begin, signals))
        case other:
            raise ValueError(f"unknown row {other!r}")
