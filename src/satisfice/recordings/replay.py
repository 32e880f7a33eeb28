"""Serve a recording: rules that only observe run on recorded chains as they would on the model, thousands a second.

A rule runs through the same session and chain code as live. What it samples comes from the recording: a chain goes on
as the recorded one with its random key did, a copy that is asked at a checkpoint says what it said there, a chain that
is told to stop at one gives the answer that it would have given. Each call is cut at whatever stop condition it has
now. What was not recorded is refused by name, never guessed.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from satisfice.core.card import Need
from satisfice.core.engine import CONFIDENCE_OF, Request, Sampled, Signals, StopReason
from satisfice.core.errors import NotRecorded, Unfit
from satisfice.core.recorded import RecordedTokens
from satisfice.engines.checks import check_length, check_prompt, check_request, without_room
from satisfice.engines.stops import could_end, find_stop
from satisfice.recordings.files import Point, Row
from satisfice.recordings.recording import LOOK, Recording

KEPT = 1_024  # problems whose chains stay unpacked in memory


class ReplayEngine:
    """Serves the chains of a recording; needs no model and no torch."""

    name = "replay"
    upstream = None
    provides = frozenset(
        {Need.FORK, Need.INJECT, Need.ABORT, Need.LOGPROBS, Need.TOP_LOGPROBS, Need.ENTROPY, Need.HIDDEN}
    )
    """What a recording can hold. What an engine has of it depends on its recording."""

    def __init__(self, recording: Recording | Path) -> None:
        self.recording = recording if isinstance(recording, Recording) else Recording(recording)
        names = self.recording.dtype.names or ()
        columns = {Need.LOGPROBS: "logprob", Need.TOP_LOGPROBS: "top_logprob", Need.ENTROPY: "entropy"}
        lacking = {need for need, name in columns.items() if name not in names}
        self.provides = ReplayEngine.provides - lacking - (set() if self.recording.layers else {Need.HIDDEN})
        self.profile, self.end_ids = self.recording.profile, self.recording.end_ids
        self.max_length = self.recording.max_length
        blocks = self.recording.header["engine"].get("layers")
        self.layers: dict[int, int] = {}  # where the states of a layer are, by both of its numbers: -1 is the last
        for place, layer in enumerate(self.recording.layers):
            other = layer if not isinstance(blocks, int) else layer - blocks - 1 if layer >= 0 else layer + blocks + 1
            self.layers |= {layer: place, other: place}
        self._of: dict[tuple[str, str], list[Row]] = {}
        self._prompts: dict[tuple[str, str], list[int]] = {}
        for row in self.recording.rows.values():
            problem = self.recording.problems[row.task, row.problem]
            where = (problem.question, problem.id)
            self._of.setdefault(where, []).append(row)
            self._prompts[where] = list(self.recording.prompts[row.task, row.problem])
        self._unpacked: OrderedDict[tuple[str, str], dict[int, _Trunk]] = OrderedDict()
        self._stops: dict[tuple[frozenset[int], tuple[str, ...]], NDArray[np.uint8]] = {}

    def open(self, question: str, label: str) -> "ReplaySequence":
        if (question, label) not in self._of:
            raise NotRecorded(f"the recording holds no chain of problem {label!r} with the question {question[:80]!r}")
        return ReplaySequence(self, self._trunks(question, label), list(self._prompts[question, label]))

    def open_prompt(self, prompt: str | list[int], label: str) -> "ReplaySequence":
        check_prompt(prompt, label, self.max_length)  # type: ignore[arg-type]
        for (question, name), ids in self._prompts.items():
            if name == label and ids == prompt:
                return self.open(question, label)
        raise NotRecorded(f"the recording holds no chain of problem {label!r} with that prompt")

    def render(self, question: str) -> str:
        raise NotRecorded("a recording holds the tokens of its prompts, not the chat form")

    async def render_chat(self, messages: list[dict[str, Any]], variables: Mapping[str, Any] | None = None) -> str:
        return self.render("")

    def unembedding(self) -> NDArray[np.float32]:
        raise Unfit("a recording holds no output matrix.")

    def encode(self, text: str) -> list[int]:
        if text and text not in self.recording.encodings:
            raise NotRecorded(f"the recording holds no tokens for the text {text[:80]!r}")
        return list(self.recording.encodings.get(text, ()))

    def decode(self, ids: list[int]) -> str:
        return self.recording.decode(ids)

    def piece(self, token: int) -> bytes:
        return self.recording.pieces[token]

    def describe(self) -> dict[str, Any]:
        recorded = self.recording.header["engine"]
        return {
            "engine": self.name, "model": self.recording.config["model"], "weights": recorded.get("weights"),
            "layers": recorded.get("layers"), "recording": str(self.recording.folder), "recorded": recorded,
        }  # fmt: skip

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def stops(self, request: Request) -> NDArray[np.uint8]:
        """By token id: 1 where it ends the call, 2 where a stop text may end in it, 3 for both."""
        key = (request.stop_ids, request.stop_texts)
        if key not in self._stops:
            pieces = self.recording.pieces
            table = np.zeros(max(pieces, default=0) + 1, dtype=np.uint8)
            table[[i for i in request.stop_ids if 0 <= i < len(table)]] = 1
            if request.stop_texts:
                for i, piece in pieces.items():
                    table[i] |= 2 * could_end(piece.decode("utf-8", "replace"), request.stop_texts)
            self._stops[key] = table
        return self._stops[key]

    def _trunks(self, question: str, label: str) -> "dict[int, _Trunk]":
        """Return the chains of a problem by their random key; at temperature 0, where nothing is drawn, under 0."""
        where = (question, label)
        found = self._unpacked.pop(where, None)
        if found is None:
            greedy = self.recording.temperature <= 0
            found = {0 if greedy else self.recording.key(row): _Trunk(self.recording, row) for row in self._of[where]}
        self._unpacked[where] = found
        if len(self._unpacked) > KEPT:
            self._unpacked.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Recorded tokens in a row: some that were put in, then what was sampled."""

    told: int  # tokens that were put in
    ids: list[int]
    said: RecordedTokens  # the others
    states: NDArray[np.float32]  # `[state, layer, width]`
    kept: NDArray[np.int64]  # the tokens of `said` that these predict


class _Trunk:
    """A recorded chain, and what its copies were told and then said; unpacked where it is asked for."""

    def __init__(self, recording: Recording, row: Row) -> None:
        tokens, self._states, kept = recording.tokens(row), recording.states(row), recording.kept(row)
        self.run = _Run(0, tokens.ids.tolist(), tokens, self._states[: len(kept)], kept)
        self._recording, self._row = recording, row
        self._points: dict[int, tuple[Point, int, int]] = {}
        self._branches: dict[int, list[tuple[bool, _Run]]] = {}
        begin, look = row.begin + row.tokens, len(kept)
        for point in row.points:
            self._points[point.at] = point, begin, look
            begin += point.size
            look += any(ask.name == LOOK and bool(n) for ask, n in zip(recording.asks, point.replies, strict=True))

    def branches(self, at: int) -> list[tuple[bool, _Run]]:
        """Return the runs that leave the chain after `at` tokens, and whether they were sampled greedily."""
        found = self._branches.get(at)
        if found is None:
            found = self._branches[at] = [] if at not in self._points else list(self._unpack(*self._points[at]))
        return found

    def _unpack(self, point: Point, begin: int, look: int) -> Iterator[tuple[bool, _Run]]:
        always = self._recording.temperature <= 0
        for ask, told, said in self._recording.replies_at(self._row, point, begin):
            states = self._states[look : look + (ask.name == LOOK and len(said) > 0)]
            ids = [*told, *said.ids.tolist()]
            yield ask.greedy or always, _Run(len(told), ids, said, states, np.arange(len(states)))


class ReplaySequence:
    """One sequence of a `ReplayEngine`: the prompt, then tokens of a recorded chain, then others if it left that."""

    def __init__(
        self, engine: ReplayEngine, trunks: dict[int, _Trunk], ids: list[int], *,
        prompt: int | None = None, trunk: _Trunk | None = None, follows: int = 0,
    ) -> None:  # fmt: skip
        self.ids = ids
        self.last: Sampled | None = None
        self._engine, self._trunks = engine, trunks
        self._prompt = len(ids) if prompt is None else prompt
        self._trunk = trunk
        self._follows = follows  # tokens after the prompt that are the recorded chain's

    def fork(self, length: int) -> "ReplaySequence":
        check_length(length, self.ids)
        return ReplaySequence(
            self._engine, self._trunks, self.ids[:length], prompt=self._prompt, trunk=self._trunk,
            follows=max(0, min(self._follows, length - self._prompt)),
        )  # fmt: skip

    def extend(self, ids: list[int]) -> None:
        self.ids.extend(ids)

    def cut(self, length: int) -> None:
        check_length(length, self.ids)
        del self.ids[length:]
        self._follows = max(0, min(self._follows, length - self._prompt))

    async def sample(self, request: Request) -> Sampled:
        check_request(request)
        await asyncio.sleep(0)  # others have their turn here, as with any engine
        self.last = without_room(self.ids, request, self._engine.max_length) or self._sample(request)
        return self.last

    def close(self) -> None:
        return None

    def _sample(self, request: Request) -> Sampled:
        if request.bias or request.sampler is not None:
            raise NotRecorded("a recording holds no scores, so sampling cannot be changed by a bias or a sampler")
        if request.thinking_budget is not None:
            raise NotRecorded("a recording has no server, so none that ends thinking at a budget")
        begin, (run, at) = len(self.ids), self._source(request)
        n, reason, cut, match = self._walk(request, run, at)
        if self._trunk is not None and run is self._trunk.run:
            self._follows += n
        at -= run.told
        return Sampled(
            ids=tuple(self.ids[begin:]), reason=reason, cut=len(self.ids) if cut is None else cut, match=match,
            watched=tuple(_watched(request, run.said[at : at + n])[-request.watch.window :]) if request.watch else (),
            **_columns(request.signals, run.said[at : at + n]), hidden=self._states(request.signals, run, at, n),
        )  # fmt: skip

    def _source(self, request: Request) -> tuple[_Run, int]:
        """Return the recorded run that goes on from here, and where in it this is."""
        recording, greedy = self._engine.recording, request.temperature <= 0
        drawn = (request.temperature, request.top_p) == (recording.temperature, recording.top_p)
        if greedy and recording.temperature > 0:
            trunk = self._trunk or next(iter(self._trunks.values()))
        elif not (drawn or greedy):
            raise NotRecorded(
                f"it was recorded at temperature {recording.temperature:g} and top_p {recording.top_p:g}, not at "
                f"{request.temperature:g} and {request.top_p:g}"
            )
        else:
            own = self._trunks.get(0 if greedy else request.key)
            if own is None or (own is not self._trunk and self._follows):
                what = "this seed, chain number and problem" if own is None else "two chains in one"
                raise NotRecorded(f"it holds no chain of {what}")
            trunk = self._trunk = own
            off = self.ids[self._prompt + self._follows :]
            if off == trunk.run.ids[self._follows : self._follows + len(off)]:  # what was put in is what came anyway
                self._follows += len(off)
                return trunk.run, self._follows
        off = self.ids[self._prompt + self._follows :]
        fit = [
            run
            for asked_greedily, run in trunk.branches(self._follows)
            if asked_greedily == greedy and run.told <= len(off) and run.ids[: len(off)] == off
        ]
        if not fit:
            raise NotRecorded(self._lack(trunk, off))
        return max(fit, key=lambda run: len(run.ids)), len(off)

    def _states(self, asked: Signals, run: _Run, at: int, n: int) -> dict[int, NDArray[np.float32]]:
        """Return the states that predict `n` tokens, by layer."""
        if not asked.hidden:
            return {}
        layers = self._engine.layers
        if strange := [layer for layer in asked.hidden if layer not in layers]:
            held = list(self._engine.recording.layers)
            raise NotRecorded(f"it holds no hidden states of layer {strange[0]}, only of {held}")
        where = np.searchsorted(run.kept, np.arange(at, at + n))
        kept = np.append(run.kept, -1)[where]
        if (lost := np.flatnonzero(kept != np.arange(at, at + n))).size:
            what = "its thinking" if not run.told else "a reply"
            raise NotRecorded(f"the hidden state at token {at + int(lost[0])} of {what} was not kept")
        return {layer: np.array(run.states[where, layers[layer]]) for layer in asked.hidden}

    def _lack(self, trunk: _Trunk, off: list[int]) -> str:
        text = self._engine.decode([i for i in off if i in self._engine.recording.pieces])
        if not trunk.branches(self._follows):
            return f"nothing was asked at token {self._follows} of its thinking, which is no checkpoint"
        return f"what follows {text[:60]!r} at token {self._follows} of its thinking was not asked"

    def _walk(self, request: Request, run: _Run, at: int) -> tuple[int, StopReason, int | None, str]:
        """Take tokens up to the stop condition: how many, why it stopped, where a stop text begins, and which."""
        engine, begin, ids = self._engine, len(self.ids), run.ids
        since = begin if request.match_from is None else request.match_from
        room = min(request.limit, engine.max_length - begin)
        said = run.said[at - run.told :][:room]
        crossed = request.watch.crossing(_watched(request, said)) if request.watch else None
        crossed = None if crossed is None else crossed - len(request.watched)
        flags = engine.stops(request)[said.ids]
        for i in np.flatnonzero(flags).tolist():
            if crossed is not None and crossed < i:
                break
            self.ids.extend(ids[at + len(self.ids) - begin : at + i + 1])
            if flags[i] & 1:
                return i + 1, "token", None, ""
            found = find_stop(self.ids, since, len(self.ids) - 1, request.stop_texts, engine.decode)
            if found is not None:
                return i + 1, "text", found.cut, found.text
        end = len(said) if crossed is None else crossed + 1
        if crossed is None and end < room:
            raise NotRecorded(
                f"the recorded text ends {end} tokens into a call for up to {room}; longer replies can be recorded"
            )
        self.ids.extend(ids[at + len(self.ids) - begin : at + end])
        return end, "length" if crossed is None else "signal", None, ""


def _columns(asked: Signals, said: RecordedTokens) -> dict[str, Any]:
    """Return the signals that were asked for, as fields of `Sampled`."""
    found: dict[str, Any] = {}
    if asked.logprobs:
        found["logprobs"] = np.array(_held("log-probabilities", said.logprobs))
    if asked.entropy:
        found["entropy"] = np.array(_held("entropy", said.entropy))
    if k := asked.top_logprobs:
        values, ids = _held("log-probabilities of the likeliest tokens", said.top_logprobs), said.top_ids
        if k > values.shape[1]:
            raise NotRecorded(f"it holds the {values.shape[1]} likeliest tokens, and {k} are asked for")
        found |= {"top_logprobs": np.array(values[:, :k]), "top_ids": np.array(ids, dtype=np.int64)[:, :k]}
    return found


def _held(what: str, values: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if values is None:
        raise NotRecorded(f"the {what} of its tokens were not recorded")
    return values


def _watched(request: Request, said: RecordedTokens) -> list[float]:
    """Return the values of the watched signal, as the engine that samples would have found them."""
    signal = request.watch.signal if request.watch else ""
    if signal == "logprob":
        values = _held("log-probabilities", said.logprobs)
    elif signal == "entropy":
        values = _held("entropy", said.entropy)
    else:
        top = _held("log-probabilities of the likeliest tokens", said.top_logprobs)
        if top.shape[1] < CONFIDENCE_OF:
            raise NotRecorded(f"confidence needs the {CONFIDENCE_OF} likeliest tokens, and it holds {top.shape[1]}")
        values = -top[:, :CONFIDENCE_OF].mean(1)
    return [*request.watched, *values.tolist()]
