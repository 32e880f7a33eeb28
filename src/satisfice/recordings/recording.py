"""Chains that were recorded once, with what the model would have answered on the way: read without a model.

A recording is a folder, written by `satisfice record`:

- `recording.json`: schema version, what was recorded and how, the model's profile, the texts that were put to it;
- `problems.jsonl`: a row per problem, with its prompt in tokens;
- `chains.jsonl`: a row per chain, with its checkpoints and verdicts;
- `tokens.bin`: fixed-size records, one a sampled token: its id and what the model said of it (`token_type`);
- `hidden.bin`: where asked for, float32 hidden states `[state, layer, width]`.

The row of a chain says where its tokens begin; first those of the chain itself follow, then those of each reply in the
order of the checkpoints. So it is with states: first those of the chain's own tokens that were kept, then one for each
look at a cue. The text of a token, and the tokens of a text, stand in the first row that needs them. Files may come
from anywhere: nothing in them is run or unpickled, and every number is checked before it is used.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satisfice.answers.extract import extract_strict, read_trial
from satisfice.core.engine import random_key
from satisfice.core.errors import NotRecorded
from satisfice.core.problem import Problem, Verdict
from satisfice.core.profile import Profile, profile_from
from satisfice.core.recorded import Checkpoint, RecordedChain, RecordedTokens, Reply
from satisfice.recordings.files import (
    CHAINS,
    HEADER,
    HIDDEN,
    PROBLEMS,
    TOKENS,
    Blame,
    Point,
    Row,
    count,
    encodings_of,
    ids_of,
    lines_of,
    pieces_of,
    read_header,
    records_of,
    row_from,
    token_type,
)
from satisfice.recordings.rule_words import migrated

LOOK = "look"  # name of what is asked for the state at a cue: nothing but the cue itself


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What was put to copies of a chain at its checkpoints: a text that is injected, after which the model goes on."""

    name: str  # "answer": thinking is closed; "trial": the inducing text; "skip": at the start only; or one's own
    text: str  # "": nothing is put in, and one token is asked for
    ids: tuple[int, ...]
    greedy: bool  # else drawn with the chain's own random key, as if the chain itself had been told to stop here
    cue: bool = False  # asked before cues only, and after the cue itself has been put in


class Recording:
    """A recording on disk: `read_recording` reads its chains, `ReplayEngine` serves them.

    Raises:
        BadInput: there is none, or a file of it is not what it should be; the message names file and line.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        header = read_header(folder)
        with Blame(folder / HEADER):
            self.header, self.config = header, dict(header["config"])
            self.profile: Profile = profile_from(migrated(header["profile"]), str(folder / HEADER))
            self.asks = tuple(
                Ask(
                    name=str(a["name"]), text=str(a["text"]), ids=ids_of(a["ids"]), greedy=bool(a["greedy"]),
                    cue=bool(a["cue"]),
                )
                for a in header["asks"]
            )  # fmt: skip
            self.end_ids = frozenset(ids_of(header["end_ids"]))
            self.max_length = count(header["max_length"])
            self.temperature, self.top_p = float(header["temperature"]), float(header["top_p"])
            self.layers = tuple(int(layer) for layer in header["hidden"]["layers"])
            self._width, self._first = count(header["hidden"]["width"]), count(header["hidden"]["first"])
            columns = header["columns"]
            self.dtype = token_type(
                logprob=bool(columns["logprob"]), entropy=bool(columns["entropy"]), top=count(columns["top"])
            )
            self.encodings, self.pieces = encodings_of(header), pieces_of(header)
        self.problems: dict[tuple[str, str], Problem] = {}
        self.prompts: dict[tuple[str, str], tuple[int, ...]] = {}
        self.rows: dict[tuple[str, str, int, str], Row] = {}
        for number, line in lines_of(folder / PROBLEMS):
            with Blame(folder / PROBLEMS, number):
                self._add_problem(line)
        self._records = records_of(folder / TOKENS, self.dtype)
        self._ids = self._records["id"]
        self._states = records_of(folder / HIDDEN, np.dtype(("<f4", (len(self.layers), self._width))))
        for number, line in lines_of(folder / CHAINS):
            with Blame(folder / CHAINS, number):
                self._add_row(line)
        with Blame(folder / TOKENS):
            self._check_tokens()

    # What it holds

    def __len__(self) -> int:
        return len(self.rows)

    def decode(self, ids: Any) -> str:
        """Return text of tokens; `NotRecorded` when that of one is not known."""
        pieces = self.pieces
        try:
            return b"".join([pieces[i] for i in ids]).decode("utf-8", "replace")
        except KeyError as error:
            raise NotRecorded(f"the recording holds no text for token {error}") from None

    def key(self, row: Row) -> int:
        """Return the random key of a chain."""
        return random_key(row.seed, row.problem, row.chain)

    def tokens(self, row: Row) -> RecordedTokens:
        """Return what the chain itself sampled."""
        return RecordedTokens(self._records[row.begin : row.begin + row.tokens])

    def replies(self, row: Row) -> Iterator[tuple[int, Ask, tuple[int, ...], RecordedTokens]]:
        """Each reply: at which token of thinking, to what, the tokens that were put in, and what was sampled."""
        begin = row.begin + row.tokens
        for point in row.points:
            for ask, told, said in self.replies_at(row, point, begin):
                yield point.at, ask, told, said
            begin += point.size

    def replies_at(self, row: Row, point: Point, begin: int) -> Iterator[tuple[Ask, tuple[int, ...], RecordedTokens]]:
        """The replies at a checkpoint, whose records begin at `begin`."""
        for ask, n in zip(self.asks, point.replies, strict=True):
            if n is not None:
                told = ask.ids
                if ask.cue:
                    where = row.begin + point.at
                    told = (*self.encodings[self.decode(self._ids[where : where + point.width].tolist())], *told)
                yield ask, told, RecordedTokens(self._records[begin : begin + n])
                begin += n

    def kept(self, row: Row) -> NDArray[np.int64]:
        """Return the tokens of the chain whose states were kept, in the order of the states."""
        if not self.layers:
            return np.zeros(0, dtype=np.int64)
        first = range(min(self._first, row.tokens))
        return np.array(sorted({*first, *(p.at for p in row.points if p.at < row.tokens)}), dtype=np.int64)

    def states(self, row: Row) -> NDArray[np.float32]:
        """States that belong to a chain, `[state, layer, width]`: those of the tokens `kept`, then one per look."""
        return self._states[row.hidden : row.hidden + self.state_count(row)]

    def state_count(self, row: Row) -> int:
        """Return how many these are."""
        return len(self.kept(row)) + len(self._looks(row))

    def chains(self) -> Iterator[RecordedChain]:
        """Yield every chain with all that was recorded of it."""
        return (self.chain(row) for row in self.rows.values())

    def chain(self, row: Row) -> RecordedChain:
        """Return a chain with all that was recorded of it."""
        problem = self.problems[row.task, row.problem]
        tokens = self.tokens(row)
        ids = tokens.ids.tolist()
        verdicts = {answer: Verdict(v) for answer, v in row.verdicts.items()}
        found: dict[int, dict[str, Reply]] = {}
        for at, ask, _, said in self.replies(row):
            if ask.name != LOOK:
                found.setdefault(at, {})[ask.name] = self._reply(ask, said, verdicts)
        hidden, states = self._hidden(row), self.states(row)
        checkpoints = tuple(
            Checkpoint(
                at=point.at, why=frozenset(point.why), cue=point.cue, replies=found.get(point.at, {}),
                hidden=hidden.get(point.at, {}),
            )
            for point in row.points
        )  # fmt: skip
        if row.ended == "limit" and "answer" in checkpoints[-1].replies:
            answer = checkpoints[-1].replies["answer"].answer
        else:
            visible = self.decode(i for i in ids[row.thinking :] if i not in self.end_ids)
            answer = self._read(visible.partition(self.profile.think_close)[2])
        first = min(self._first, row.tokens)
        return RecordedChain(
            problem=problem, seed=row.seed, name=row.chain, prompt=self.prompts[row.task, row.problem], tokens=tokens,
            thinking=row.thinking, ended=row.ended, checkpoints=checkpoints,
            pieces=tuple(self.pieces[i].decode("utf-8", "replace") for i in ids), text=self.decode(ids),
            answer=answer, verdict=_verdict(answer, verdicts),
            hidden={layer: states[:first, i] for i, layer in enumerate(self.layers)},
        )  # fmt: skip

    @cached_property
    def verdicts(self) -> dict[tuple[str, str, str], Verdict]:
        """(task, problem, answer) -> verdict, of every answer that was judged when this was recorded."""
        return {
            (row.task, row.problem, answer): Verdict(said)
            for row in self.rows.values()
            for answer, said in row.verdicts.items()
        }

    def _looks(self, row: Row) -> list[int]:
        """Return the checkpoints at which copies looked at the cue, in order."""
        look = next((i for i, ask in enumerate(self.asks) if ask.name == LOOK), None)
        return [] if look is None else [point.at for point in row.points if point.replies[look]]

    def _hidden(self, row: Row) -> dict[int, dict[int, NDArray[np.float32]]]:
        """By checkpoint, its two states by layer."""
        states, kept, looks = self.states(row), self.kept(row).tolist(), self._looks(row)
        of = {at: state for state, at in enumerate(kept)}
        seen = {at: state for state, at in enumerate(looks, len(kept))}
        pairs = {
            point.at: [of[point.at], seen[point.at] if point.cue else of[point.at]]
            for point in row.points
            if point.at in of and (point.at in seen or not point.cue)
        }
        return {at: {layer: states[two, i] for i, layer in enumerate(self.layers)} for at, two in pairs.items()}

    def _reply(self, ask: Ask, tokens: RecordedTokens, verdicts: Mapping[str, Verdict]) -> Reply:
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
        self.prompts[task, ident] = ids_of(line["prompt"])
        self.pieces.update(pieces_of(line))

    def _add_row(self, line: dict[str, Any]) -> None:
        row = row_from(line, len(self.asks))
        if (row.task, row.problem) not in self.problems:
            raise ValueError(f"there is no problem {row.problem!r} of {row.task!r}")
        if row.key in self.rows:
            raise ValueError(f"the chain {row.key} is there twice")
        if row.begin + row.size > len(self._records) or row.hidden + self.state_count(row) > len(self._states):
            raise ValueError("it speaks of more tokens or states than there are")
        self.pieces.update(pieces_of(line))
        self.encodings.update(encodings_of(line))
        self.rows[row.key] = row

    def _check_tokens(self) -> None:
        """Every token that a row speaks of must have a text."""
        end = max((row.begin + row.size for row in self.rows.values()), default=0)
        ids = self._ids[:end]
        if len(ids):
            known = np.zeros(max(self.pieces, default=0) + 1, dtype=bool)
            known[list(self.pieces)] = True
            if ids.min() < 0 or ids.max() >= len(known) or not known[ids].all():
                raise ValueError("a token has no text in any row")
        for row in self.rows.values() if any(ask.cue for ask in self.asks) else ():
            for _ in self.replies(row):  # a cue whose tokens are not known shows here
                pass


def read_recording(folder: str | Path) -> Iterator[RecordedChain]:
    """The chains of a recording, one after another, for training and for measuring; no model is needed.

        for chain in read_recording("recordings/hard"):
            for point in chain.checkpoints:
                x, y = point.replies["trial"].tokens.logprobs, point.replies["trial"].verdict

    Raises:
        BadInput: there is no recording there, or a file of it is not what it should be.
    """
    yield from Recording(Path(folder)).chains()


def _verdict(answer: str | None, verdicts: Mapping[str, Verdict]) -> Verdict:
    return Verdict.WRONG if answer is None else verdicts.get(answer, Verdict.UNKNOWN)
