"""The files of a recording, parsed as hostile: nothing in them is run, and every number is checked before it is used.

`satisfice.recordings.recording` says what is in which file.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from satisfice.core.errors import BadInput
from satisfice.core.problem import Verdict
from satisfice.core.recorded import Why
from satisfice.core.span import Ended

SCHEMA_VERSION = 1
HEADER, PROBLEMS, CHAINS, TOKENS, HIDDEN = (
    "recording.json", "problems.jsonl", "chains.jsonl", "tokens.bin", "hidden.bin",
)  # fmt: skip
MAX_LINE = 64 << 20  # bytes; no row of ours comes near


def token_type(*, logprob: bool, entropy: bool, top: int) -> np.dtype[Any]:
    """One record of `tokens.bin`, with the columns that were recorded; log-probabilities and entropy are in nats.

    >>> token_type(logprob=True, entropy=False, top=2).itemsize
    24
    """
    columns: list[Any] = [("id", "<i4")]
    columns += [("logprob", "<f4")] * logprob + [("entropy", "<f4")] * entropy
    if top:
        columns += [("top_id", "<i4", (top,)), ("top_logprob", "<f4", (top,))]
    return np.dtype(columns)


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A checkpoint as a row of `chains.jsonl` has it."""

    at: int  # tokens of thinking before it, those that end it among them
    why: tuple[Why, ...]
    cue: str  # the cue that comes next; "" when none does
    width: int  # tokens up to the end of that cue
    replies: tuple[int | None, ...]  # tokens of each reply; None: not asked

    @property
    def size(self) -> int:
        """Tokens of all replies."""
        return sum(n for n in self.replies if n is not None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """A checked row of `chains.jsonl`."""

    task: str
    problem: str
    seed: int
    chain: str
    ended: Ended
    thinking: int
    begin: int  # record of its first token
    tokens: int
    points: tuple[Point, ...]
    verdicts: Mapping[str, str]
    hidden: int  # record of its first state

    @property
    def size(self) -> int:
        """Records of `tokens.bin` that belong to it."""
        return self.tokens + sum(point.size for point in self.points)

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What a chain is filed under."""
        return self.task, self.problem, self.seed, self.chain


def read_header(folder: Path) -> dict[str, Any]:
    """Return the `recording.json` of a folder, its form and version checked."""
    path = folder / HEADER
    try:
        header = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadInput(
            f"{folder} holds no recording: there is no {HEADER} in it. Make one with satisfice record."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read: {error}.") from error
    if not isinstance(header, dict) or not isinstance(header.get("config"), dict):
        raise BadInput(f"{path} is not the header of a recording.")
    if header.get("schema_version") != SCHEMA_VERSION:
        raise BadInput(
            f"{path} has schema_version {header.get('schema_version')!r}, and this release reads {SCHEMA_VERSION}. "
            "Use the release that wrote it."
        )
    return header


def row_from(line: Mapping[str, Any], asks: int) -> Row:
    """Return a row of `chains.jsonl`, checked; `ValueError`, `TypeError` or `KeyError` when it is not one."""
    ended = line["ended"]
    if ended not in ("model", "limit", "turn"):
        raise ValueError(f"ended is {ended!r}")
    tokens, thinking = count(line["tokens"]), count(line["thinking"])
    points = tuple(_point(point, asks) for point in line["checkpoints"])
    places = [point.at for point in points]
    if places[:1] != [0] or any(a >= b for a, b in itertools.pairwise(places)):
        raise ValueError(f"checkpoints must begin at 0 and go up, got {places[:5]}")
    cues = max((point.at + point.width for point in points if point.cue), default=0)
    if cues > thinking or max(*places, thinking) > tokens:  # others may lie among the tokens that end the thinking
        raise ValueError(f"checkpoints reach beyond {thinking} tokens of thinking, or those beyond {tokens} in all")
    verdicts = {str(answer): Verdict(said).value for answer, said in line["verdicts"].items()}
    return Row(
        task=str(line["task"]), problem=str(line["problem"]), seed=count(line["seed"]), chain=str(line["chain"]),
        ended=ended, thinking=thinking, begin=count(line["begin"]), tokens=tokens, points=points, verdicts=verdicts,
        hidden=count(line.get("hidden", 0)),
    )  # fmt: skip


def _point(point: Mapping[str, Any], asks: int) -> Point:
    why, replies = tuple(point["why"].split("+")), tuple(None if n is None else count(n) for n in point["replies"])
    if strange := set(why) - set(get_args(Why)):
        raise ValueError(f"why is {strange.pop()!r}")
    if len(replies) != asks:
        raise ValueError(f"{len(replies)} replies where {asks} were asked for")
    return Point(
        at=count(point["at"]), why=why, cue=str(point.get("cue", "")), width=count(point.get("width", 0)),
        replies=replies,
    )  # fmt: skip


def pieces_of(line: Mapping[str, Any]) -> dict[int, bytes]:
    """Return the text of tokens that a row brings along."""
    return {int(i): bytes.fromhex(piece) for i, piece in line["pieces"].items()}


def encodings_of(line: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the tokens of texts that a row brings along."""
    return {str(text): ids_of(ids) for text, ids in line["encodings"].items()}


def count(value: object) -> int:
    """Return a whole number from 0; `ValueError` for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise ValueError(f"{value!r} is no count")
    return value


def ids_of(values: Any) -> tuple[int, ...]:
    """Token ids; `ValueError` or `TypeError` for anything else."""
    return tuple(count(value) for value in values)


def records_of(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The complete records of a file, mapped; more than the rows speak of may be there while it is being written."""
    base, shape = (dtype.base, dtype.shape)
    whole = path.stat().st_size // dtype.itemsize if dtype.itemsize and path.is_file() else 0
    if not whole:
        return np.zeros((0, *shape), dtype=base)
    return np.asarray(np.memmap(path, dtype=base, mode="r", shape=(whole, *shape)))


def lines_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The complete lines of a file, parsed and numbered."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE):
                number += 1
                if not line.endswith(b"\n"):  # killed while it was written, or being written now
                    return
                with Blame(path, number):
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise TypeError(f"a row is a JSON object, got {type(row).__name__}")
                yield number, row
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}. The recording is not complete.") from error


class Blame:
    """Whatever is wrong inside is the fault of this file (and line)."""

    def __init__(self, path: Path, line: int | None = None) -> None:
        self.where = f"{path}" if line is None else f"{path} line {line}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)) and (
            not isinstance(error, BadInput)
        ):
            raise BadInput(
                f"{self.where}: not as satisfice record writes it ({type(error).__name__}: {error}). "
                "The file was changed or cut: make the recording again, or copy it again."
            ) from error
