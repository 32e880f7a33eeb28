"""Chains that were recorded once, with what the model would have answered on the way: read without a model.

A recording is a folder, written by `satisfice record`:

- `recording.json`: schema version, what was recorded and how, the model's profile, the texts that were put to it;
- `problems.jsonl`: a row a problem, with its prompt in tokens;
- `chains.jsonl`: a row a chain, with its checkpoints, verdicts, and the text of tokens that no row before it had;
- `tokens.bin`: fixed-size records, one a sampled token: its id and what the model said of it (`token_type`);
- `hidden.bin`: where asked for, float32 hidden states `[state, layer, width]`, two states a checkpoint.

The row of a chain says where its tokens begin; first those of the chain itself follow, then those of each reply in the
order of the checkpoints. Files may come from anywhere: nothing in them is run or unpickled, and every number is checked
before it is used.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from satisfice.answers.extract import extract_strict, read_trial
from satisfice.core.chain import Ended
from satisfice.core.engine import random_key
from satisfice.core.errors import BadInput
from satisfice.core.problem import Problem, Verdict
from satisfice.core.profile import Profile, profile_from

SCHEMA_VERSION = 1
HEADER, PROBLEMS, CHAINS, TOKENS, HIDDEN = (
    "recording.json", "problems.jsonl", "chains.jsonl", "tokens.bin", "hidden.bin",
)  # fmt: skip
MAX_LINE = 64 << 20  # bytes; no row of ours comes near

Why = Literal["start", "cue", "step", "every", "limit"]
"""Why a checkpoint is where it is: before any thinking, just before a cue, after a step, after every so many tokens, or
where a token limit ended the thinking."""


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


class Tokens:
    """Sampled tokens and what the model said of each. A slice of it is one too."""

    def __init__(self, records: NDArray[Any]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, part: slice) -> "Tokens":
        return Tokens(self.records[part])

    @property
    def ids(self) -> NDArray[np.int32]:
        """Token ids, `[n]`."""
        return self.records["id"]

    @property
    def logprobs(self) -> NDArray[np.float32] | None:
        """Log-probability of each token, nats, `[n]`; None when it was not recorded."""
        return self._column("logprob")

    @property
    def entropy(self) -> NDArray[np.float32] | None:
        """Entropy of the distribution that each token was drawn from, nats, `[n]`; None when it was not recorded."""
        return self._column("entropy")

    @property
    def top_ids(self) -> NDArray[np.int32] | None:
        """The likeliest tokens at each position, `[n, k]`; None when they were not recorded."""
        return self._column("top_id")

    @property
    def top_logprobs(self) -> NDArray[np.float32] | None:
        """Their log-probabilities, nats, `[n, k]`, likeliest first; None when they were not recorded."""
        return self._column("top_logprob")

    def _column(self, name: str) -> NDArray[Any] | None:
        return self.records[name] if name in (self.records.dtype.names or ()) else None


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What was put to copies of a chain at its checkpoints: a text that is injected, after which the model goes on."""

    name: str  # "answer": thinking is closed; "trial": the inducing text; "skip": at the start only; or one's own
    text: str
    ids: tuple[int, ...]
    greedy: bool  # else drawn with the chain's own random key, as if the chain itself had been told to stop here


@dataclass(frozen=True, kw_only=True, eq=False)
class Reply:
    """What a copy of the chain said at a checkpoint after one of the `Ask`s."""

    tokens: Tokens
    text: str  # without the end of the turn
    complete: bool  # it ended its turn; False: the token limit of replies cut it
    answer: str | None  # as read from the text: strictly for visible answers, as a trial answer for the others
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A place in the thinking where copies of the chain were asked for their answer."""

    at: int  # tokens of thinking before it
    why: frozenset[Why]
    cue: str  # the cue that comes next; "" when none does
    replies: Mapping[str, Reply]  # by the name of what was asked
    hidden: Mapping[int, NDArray[np.float32]]
    """Layer -> `[2, width]`: the state that predicts the next token here, and the state at the cue's last token (the
    same as the first where there is no cue). Empty when no layers were recorded, or the chain ends here."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedChain:
    """One chain to its natural end, with its checkpoints in the order in which it came by them."""

    problem: Problem
    seed: int
    name: str  # number of the chain within its session: "0", "1", ...
    prompt: tuple[int, ...]
    tokens: Tokens  # all that it sampled: thinking, closing tag, visible answer, end of the turn
    thinking: int  # of these, tokens before the closing tag
    ended: Ended  # model, limit or turn
    checkpoints: tuple[Checkpoint, ...]
    pieces: tuple[str, ...]  # text of each token; a character that spans tokens shows as replacement characters
    text: str
    answer: str | None  # strict reading of the visible answer; after a token limit, of the forced one
    verdict: Verdict


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
    checkpoints: tuple[tuple[int, tuple[Why, ...], str, tuple[int | None, ...], bool], ...]
    """Of each: tokens before it, why, cue, tokens of each reply (None: not asked), whether its states were recorded."""
    verdicts: Mapping[str, str]
    hidden: int  # record of its first state

    @property
    def size(self) -> int:
        """Records of `tokens.bin` that belong to it."""
        return self.tokens + sum(n for c in self.checkpoints for n in c[3] if n is not None)

    @property
    def states(self) -> int:
        """States of `hidden.bin` that belong to it."""
        return 2 * sum(c[4] for c in self.checkpoints)

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What a chain is filed under."""
        return self.task, self.problem, self.seed, self.chain


class Recording:
    """A recording on disk: `read_recording` reads its chains, `ReplayEngine` serves them.

    Raises:
        BadInput: there is none, or a file of it is not what it should be; the message names file and line.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        header = read_header(folder)
        with _Blame(folder / HEADER):
            self.header, self.config = header, dict(header["config"])
            self.profile: Profile = profile_from(header["profile"], str(folder / HEADER))
            self.asks = tuple(
                Ask(name=str(a["name"]), text=str(a["text"]), ids=_ids(a["ids"]), greedy=bool(a["greedy"]))
                for a in header["asks"]
            )
            self.encodings = {str(text): _ids(ids) for text, ids in header["encodings"].items()}
            self.end_ids = frozenset(_ids(header["end_ids"]))
            self.max_length, self.reach = _count(header["max_length"]), _count(header["config"]["trial_tokens"])
            self.temperature, self.top_p = float(header["temperature"]), float(header["top_p"])
            self.layers = tuple(int(layer) for layer in header["hidden"]["layers"])
            self._width = _count(header["hidden"]["width"])
            self.dtype = token_type(**{name: int(header["columns"][name]) for name in ("logprob", "entropy", "top")})  # type: ignore[arg-type]
        self.problems: dict[tuple[str, str], Problem] = {}
        self.prompts: dict[tuple[str, str], tuple[int, ...]] = {}
        self.pieces: dict[int, bytes] = {}
        self.rows: dict[tuple[str, str, int, str], Row] = {}
        for number, line in _lines(folder / PROBLEMS):
            with _Blame(folder / PROBLEMS, number):
                self._add_problem(line)
        self._records = self._map(folder / TOKENS, self.dtype)
        self._states = self._map(folder / HIDDEN, np.dtype(("<f4", (len(self.layers), self._width))))
        for number, line in _lines(folder / CHAINS):
            with _Blame(folder / CHAINS, number):
                self._add_row(line)
        with _Blame(folder / TOKENS):
            self._check_tokens()

    # What it holds

    def __len__(self) -> int:
        return len(self.rows)

    def decode(self, ids: Any) -> str:
        """Text of tokens."""
        pieces = self.pieces
        return b"".join([pieces[i] for i in ids]).decode("utf-8", "replace")

    def key(self, row: Row) -> int:
        """The random key of a chain."""
        return random_key(row.seed, row.problem, row.chain)

    def tokens(self, row: Row) -> Tokens:
        """What the chain itself sampled."""
        return Tokens(self._records[row.begin : row.begin + row.tokens])

    def replies(self, row: Row) -> Iterator[tuple[int, Ask, Tokens]]:
        """Each reply: at which token of thinking, to what, and what was sampled."""
        begin = row.begin + row.tokens
        for at, _, _, counts, _ in row.checkpoints:
            for ask, n in zip(self.asks, counts, strict=True):
                if n is not None:
                    yield at, ask, Tokens(self._records[begin : begin + n])
                    begin += n

    def chain(self, row: Row) -> RecordedChain:
        """A chain with all that was recorded of it."""
        problem = self.problems[row.task, row.problem]
        tokens = self.tokens(row)
        ids = tokens.ids.tolist()
        verdicts = {answer: Verdict(v) for answer, v in row.verdicts.items()}
        found: dict[int, dict[str, Reply]] = {}
        for at, ask, said in self.replies(row):
            found.setdefault(at, {})[ask.name] = self._reply(ask, said, verdicts)
        checkpoints, state = [], row.hidden
        for at, why, cue, _, seen in row.checkpoints:
            hidden = {layer: self._states[state : state + 2, i] for i, layer in enumerate(self.layers)} if seen else {}
            state += 2 * seen
            checkpoints.append(Checkpoint(at=at, why=frozenset(why), cue=cue, replies=found.get(at, {}), hidden=hidden))
        if row.ended == "limit" and "answer" in checkpoints[-1].replies:
            answer = checkpoints[-1].replies["answer"].answer
        else:
            visible = self.decode(i for i in ids[row.thinking :] if i not in self.end_ids)
            answer = self._read(visible.partition(self.profile.think_close)[2])
        return RecordedChain(
            problem=problem, seed=row.seed, name=row.chain, prompt=self.prompts[row.task, row.problem], tokens=tokens,
            thinking=row.thinking, ended=row.ended, checkpoints=tuple(checkpoints),
            pieces=tuple(self.pieces[i].decode("utf-8", "replace") for i in ids), text=self.decode(ids),
            answer=answer, verdict=_verdict(answer, verdicts),
        )  # fmt: skip

    @cached_property
    def verdicts(self) -> dict[tuple[str, str, str], Verdict]:
        """(task, problem, answer) -> verdict, of every answer that was judged when this was recorded."""
        return {
            (row.task, row.problem, answer): Verdict(said)
            for row in self.rows.values()
            for answer, said in row.verdicts.items()
        }

    def _reply(self, ask: Ask, tokens: Tokens, verdicts: Mapping[str, Verdict]) -> Reply:
        ids = tokens.ids.tolist()
        text = self.decode(i for i in ids if i not in self.end_ids)
        answer = read_trial(text) if ask.greedy else self._read(text)
        complete = bool(ids) and ids[-1] in self.end_ids
        return Reply(tokens=tokens, text=text, complete=complete, answer=answer, verdict=_verdict(answer, verdicts))

    def _read(self, text: str) -> str | None:
        return extract_strict(text, self.profile.answer_form)

    # Reading it in

    def _add_problem(self, line: dict[str, Any]) -> None:
        task, ident = str(line["task"]), str(line["id"])
        if (task, ident) in self.problems:
            raise ValueError(f"problem {ident!r} of {task!r} is there twice")
        self.problems[task, ident] = Problem(
            id=ident, task=task, question=str(line["question"]), answer=str(line["answer"]),
            metadata=dict(line["metadata"]),
        )  # fmt: skip
        self.prompts[task, ident] = _ids(line["prompt"])

    def _add_row(self, line: dict[str, Any]) -> None:
        row = row_from(line, len(self.asks))
        if (row.task, row.problem) not in self.problems:
            raise ValueError(f"there is no problem {row.problem!r} of {row.task!r}")
        if row.key in self.rows:
            raise ValueError(f"the chain {row.key} is there twice")
        if row.begin + row.size > len(self._records) or row.hidden + row.states > len(self._states):
            raise ValueError("it speaks of more tokens or states than there are")
        self.pieces.update({int(i): bytes.fromhex(piece) for i, piece in line["pieces"].items()})
        self.rows[row.key] = row

    def _check_tokens(self) -> None:
        """Every token that a row speaks of must have a text."""
        end = max((row.begin + row.size for row in self.rows.values()), default=0)
        ids = self._records["id"][:end]
        if len(ids):
            known = np.zeros(max(self.pieces, default=0) + 1, dtype=bool)
            known[list(self.pieces)] = True
            if ids.min() < 0 or ids.max() >= len(known) or not known[ids].all():
                raise ValueError("a token has no text in any row")

    @staticmethod
    def _map(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The complete records of a file; more than the rows speak of may be there while it is being written."""
        base, shape = (dtype.base, dtype.shape)
        whole = path.stat().st_size // dtype.itemsize if dtype.itemsize and path.is_file() else 0
        if not whole:
            return np.zeros((0, *shape), dtype=base)
        return np.asarray(np.memmap(path, dtype=base, mode="r", shape=(whole, *shape)))


def read_recording(folder: str | Path) -> Iterator[RecordedChain]:
    """The chains of a recording, one after another, for training and for measuring; no model is needed.

        for chain in read_recording("recordings/hard"):
            for point in chain.checkpoints:
                x, y = point.replies["trial"].tokens.logprobs, point.replies["trial"].verdict

    Raises:
        BadInput: there is no recording there, or a file of it is not what it should be.
    """
    recording = Recording(Path(folder))
    for row in recording.rows.values():
        yield recording.chain(row)


def read_header(folder: Path) -> dict[str, Any]:
    """The `recording.json` of a folder, its form and version checked."""
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
    """A row of `chains.jsonl`, checked; `ValueError`, `TypeError` or `KeyError` when it is not one."""
    ended = line["ended"]
    if ended not in ("model", "limit", "turn"):
        raise ValueError(f"ended is {ended!r}")
    checkpoints = []
    tokens, thinking, before = _count(line["tokens"]), _count(line["thinking"]), -1
    for point in line["checkpoints"]:
        at, why, counts = _count(point["at"]), tuple(point["why"].split("+")), tuple(point["replies"])
        if not before < at <= thinking <= tokens:
            raise ValueError(f"a checkpoint at token {at} is out of place")
        if len(counts) != asks:
            raise ValueError(f"{len(counts)} replies where {asks} were asked for")
        before = at
        checked = tuple(None if n is None else _count(n) for n in counts)
        checkpoints.append((at, why, str(point.get("cue", "")), checked, bool(point.get("hidden", False))))
    verdicts = {str(answer): Verdict(said).value for answer, said in line["verdicts"].items()}
    return Row(
        task=str(line["task"]), problem=str(line["problem"]), seed=_count(line["seed"]), chain=str(line["chain"]),
        ended=ended, thinking=thinking, begin=_count(line["begin"]), tokens=tokens, checkpoints=tuple(checkpoints),
        verdicts=verdicts, hidden=_count(line.get("hidden", 0)),
    )  # fmt: skip


def _verdict(answer: str | None, verdicts: Mapping[str, Verdict]) -> Verdict:
    return Verdict.WRONG if answer is None else verdicts.get(answer, Verdict.UNKNOWN)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise ValueError(f"{value!r} is no count")
    return value


def _ids(values: Any) -> tuple[int, ...]:
    return tuple(_count(value) for value in values)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The complete lines of a file, parsed and numbered."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE):
                number += 1
                if not line.endswith(b"\n"):  # killed while it was written, or being written now
                    return
                with _Blame(path, number):
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise TypeError(f"a row is a JSON object, got {type(row).__name__}")
                yield number, row
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}. The recording is not complete.") from error


class _Blame:
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
