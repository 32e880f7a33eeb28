"""The folder that a recording is written to: nothing of it is lost or doubled by a kill, nothing else is touched."""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from satisfice.core.errors import BadInput, CannotWrite
from satisfice.core.files import append_synced, changes, complete_bytes, holds, lock_file, replace_file
from satisfice.recordings.files import CHAINS, HEADER, HIDDEN, PROBLEMS, TOKENS, Row, read_header
from satisfice.recordings.recording import Recording

ChainKey = tuple[str, str, int, str]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A chain that is ready to be written: its row without its place, its tokens and states, and what tokens mean."""

    row: dict[str, Any]
    tokens: NDArray[Any]  # records of the chain, then of its replies
    states: NDArray[np.float32]  # [state, layer, width]
    pieces: Mapping[int, bytes]  # the text of its tokens
    encodings: Mapping[str, list[int]] = field(default_factory=dict)  # the tokens of texts that were put in


@dataclass(kw_only=True)
class RecordFolder:
    """Open it as a context manager; it is then locked for this process, and `done` says what is in it already.

    Tokens go first and are synced, then the rows that speak of them: a row on disk is always whole. What a killed
    recording left without its row is cut off again.
    """

    path: Path
    header: Mapping[str, Any]
    problems: Iterable[Mapping[str, Any]]  # rows of `problems.jsonl`, written once
    states: int  # bytes of one state, all layers together; 0 when none are recorded
    record: int  # bytes of one token
    done: dict[ChainKey, Row] = field(default_factory=dict)
    _files: dict[str, int] = field(default_factory=dict)
    _told: dict[int, bytes] = field(default_factory=dict)  # the text of tokens that is on disk
    _encoded: set[str] = field(default_factory=set)  # the texts whose tokens are on disk
    _ends: dict[str, int] = field(default_factory=dict)  # bytes of each file that belong to whole rows

    def check(self) -> None:
        """Raise `BadInput` unless a recording with this config may begin or go on here. Writes nothing."""
        there = holds(self.path, HEADER, "recording")
        if there and (changed := changes(read_header(self.path)["config"], self.header["config"])):
            raise BadInput(
                f"out: {self.path} holds another recording ({'; '.join(changed)}). Give another folder, or the same "
                "settings to go on with that one. Nothing was written."
            )

    def append(self, chains: list[Taken]) -> None:
        """Add chains; they are on disk when this returns. After an error nothing of a torn one remains."""
        size = {TOKENS: self._ends[TOKENS] // self.record, HIDDEN: self._ends[HIDDEN] // max(1, self.states)}
        data = {TOKENS: b"", HIDDEN: b"", CHAINS: b""}
        told, encoded = dict(self._told), set(self._encoded)
        for taken in chains:
            fresh = {str(i): piece.hex() for i, piece in taken.pieces.items() if i not in told}
            if changed := [i for i, piece in taken.pieces.items() if told.get(i, piece) != piece]:
                raise BadInput(
                    f"out: token {changed[0]} was {told[changed[0]]!r} in {self.path} and is "
                    f"{taken.pieces[changed[0]]!r} now: this is another tokenizer. Give another folder."
                )
            told.update(taken.pieces)
            texts = {text: ids for text, ids in taken.encodings.items() if text not in encoded}
            encoded.update(texts)
            row = {
                **taken.row, "begin": size[TOKENS], "hidden": size[HIDDEN], "pieces": fresh, "encodings": texts,
            }  # fmt: skip
            size[TOKENS] += len(taken.tokens)
            size[HIDDEN] += len(taken.states)
            data[TOKENS] += taken.tokens.tobytes()
            data[HIDDEN] += taken.states.tobytes()
            data[CHAINS] += json.dumps(row, separators=(",", ":")).encode() + b"\n"
        try:
            for name in (TOKENS, HIDDEN, CHAINS):  # a row last: what it speaks of is there
                append_synced(self._files[name], data[name])
        except OSError as error:
            for name, file in self._files.items():
                with contextlib.suppress(OSError):
                    os.ftruncate(file, self._ends[name])
            raise CannotWrite(
                f"{self.path}: {error.strerror}. The chains reported so far are safe there. "
                "Make room and give the same command again: it goes on from here."
            ) from error
        self._told, self._encoded = told, encoded
        for name in data:
            self._ends[name] += len(data[name])

    def __enter__(self) -> Self:
        self.check()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not (self.path / HEADER).exists():
                lines = (json.dumps(row, separators=(",", ":")) + "\n" for row in self.problems)
                replace_file(self.path / PROBLEMS, "".join(lines))
                # The header last: with it the folder is a recording.
                replace_file(self.path / HEADER, json.dumps(self.header, indent=1) + "\n")
            for name in (CHAINS, TOKENS, HIDDEN):
                self._files[name] = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            lock_file(self._files[CHAINS], self.path)
            os.ftruncate(self._files[CHAINS], complete_bytes(self.path / CHAINS))
            self._find_done()
        except OSError as error:
            self._close()
            raise CannotWrite(f"out: {self.path}: {error.strerror}. Give a folder that can be written.") from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _find_done(self) -> None:
        """Read what is there, and cut off tokens that no row speaks of."""
        before = Recording(self.path)
        self.done, self._told, self._encoded = before.rows, dict(before.pieces), set(before.encodings)
        rows = before.rows.values()
        ends = {
            TOKENS: self.record * max((row.begin + row.size for row in rows), default=0),
            HIDDEN: self.states * max((row.hidden + before.state_count(row) for row in rows), default=0),
        }
        for name, end in ends.items():
            os.ftruncate(self._files[name], end)
        self._ends = {**ends, CHAINS: (self.path / CHAINS).stat().st_size}

    def _close(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files = {}
