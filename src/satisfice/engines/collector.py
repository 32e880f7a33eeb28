"""Tokens that arrive one by one from somewhere else, and the stop condition of the call that asked for them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from satisfice.core.engine import CONFIDENCE_OF, Request, Sampled, StopReason, Watch
from satisfice.core.errors import EngineError
from satisfice.engines.stops import Match, could_end, find_stop


class Token(NamedTuple):
    """One sampled token as it came: its id, and the log-probabilities that came with it, in nats."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[float, int], ...] = ()  # (log-probability, id), likeliest first


def top_wanted(request: Request) -> int:
    """Return how many of the likeliest tokens must come with each token."""
    watched = request.watch is not None and request.watch.signal == "confidence"
    return max(request.signals.top_logprobs, CONFIDENCE_OF if watched else 0)


def logprobs_wanted(request: Request) -> bool:
    """Return whether each token must come with its own log-probability."""
    return request.signals.logprobs or (request.watch is not None and request.watch.signal == "logprob")


class Collector:
    """Puts tokens on a sequence and says at which of them the request's stop condition holds.

    `ids` is the sequence itself; it grows, up to `max_length`. `decode` is the engine's.
    """

    def __init__(
        self, ids: list[int], request: Request, decode: Callable[[list[int]], str], *, max_length: int
    ) -> None:
        self.reason: StopReason | None = None  # None while it may go on
        self.prefilled = 0  # whoever knows it writes it here
        self.ids, self._request, self._decode = ids, request, decode
        self._begin = len(ids)
        self.top_wanted, self.logprobs_wanted = top_wanted(request), logprobs_wanted(request)
        self._end = min(self._begin + request.limit, max_length)
        self._since = self._begin if request.match_from is None else request.match_from
        self._found: Match | None = None
        self._logprobs: list[float] = []
        self._top: list[tuple[tuple[float, int], ...]] = []
        self._watched: list[float] = list(request.watched)

    @property
    def count(self) -> int:
        """Tokens so far."""
        return len(self.ids) - self._begin

    @property
    def left(self) -> int:
        """Tokens that may still come."""
        return self._end - len(self.ids)

    def add(self, token: Token) -> bool:
        """Take the next token; True when the call is over with it.

        Raises:
            EngineError: the token came with fewer log-probabilities than were asked for.
        """
        request, ids = self._request, self.ids
        ids.append(token.id)
        if self.logprobs_wanted or self.top_wanted:
            self._read_signals(token)
        if token.id in request.stop_ids:
            self.reason = "token"
        elif request.stop_texts and (found := self._stop_text(token.id)):
            self.reason, self._found = "text", found
        elif request.watch is not None and self._crossed(request.watch):
            self.reason = "signal"
        elif len(ids) >= self._end:
            self.reason = "length"
        if request.on_tokens is not None:
            request.on_tokens()
        return self.reason is not None

    def result(self) -> Sampled:
        """Return what the call added so far; `cancelled` when no stop condition has held."""
        asked, n = self._request.signals, self.count
        k = asked.top_logprobs
        top = np.array([list(row[:k]) for row in self._top[:n]], dtype=np.float64).reshape(-1 if k else 0, k, 2)
        return Sampled(
            ids=tuple(self.ids[self._begin :]),
            reason=self.reason or "cancelled",
            cut=self._found.cut if self._found else len(self.ids),
            match=self._found.text if self._found else "",
            prefilled=self.prefilled,
            watched=tuple(self._watched[-self._request.watch.window :]) if self._request.watch else (),
            logprobs=np.array(self._logprobs, dtype=np.float32) if asked.logprobs else None,
            top_logprobs=top[..., 0].astype(np.float32) if k else None,
            top_ids=top[..., 1].astype(np.int64) if k else None,
        )

    def _read_signals(self, token: Token) -> None:
        if self.logprobs_wanted:
            if token.logprob is None:
                del self.ids[-1]
                raise EngineError("the server sent a token without the log-probability that was asked for")
            self._logprobs.append(token.logprob)
        if self.top_wanted:
            if len(token.top) < self.top_wanted:
                del self.ids[-1], self._logprobs[self.count :]
                raise EngineError(
                    f"the server sent {len(token.top)} of the {self.top_wanted} likeliest tokens that were asked for"
                )
            self._top.append(token.top)

    def _stop_text(self, token: int) -> Match | None:
        texts = self._request.stop_texts
        piece = self._decode([token])
        if not (could_end(piece, texts) or "\ufffd" in piece):  # a part of a character may complete one
            return None
        return find_stop(self.ids, self._since, len(self.ids) - 1, texts, self._decode)

    def _crossed(self, watch: Watch) -> bool:
        if watch.signal == "logprob":
            self._watched.append(self._logprobs[-1])
        else:
            self._watched.append(-sum(value for value, _ in self._top[-1][:CONFIDENCE_OF]) / CONFIDENCE_OF)
        return watch.crossed(self._watched)
