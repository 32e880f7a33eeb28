"""From the tokens of a chain to what a client reads: reasoning, answer, and what waits for its rest; pure."""

import codecs
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from satisfice.core.engine import Engine


class Delta(NamedTuple):
    """Something new for a client to read. `data` holds what is no text: calls of tools, log-probabilities."""

    kind: Literal["reasoning", "content", "data"]
    text: str
    data: Any = None


class ReasoningParser:
    """Tells reasoning and answer apart in one chain, token by token.

    `take` is given further tokens of the chain, `end` says that there are no more; both return what is new to read.
    With `raw` reasoning, its end and answer are one text. `stop` texts end the answer and are not shown; reasoning may
    hold them. An answer that begins with thinking again is reasoning until that ends, and an end of thinking where none
    is open is left out.
    """

    def __init__(self, engine: Engine, *, thinks: bool = True, raw: bool = False, stop: Sequence[str] = ()) -> None:
        self.count = 0  # tokens taken
        self.answer_from = None if thinks else 0  # of these, so many before the answer
        self.stopped = False  # a stop text has come: nothing more is shown
        self.stop_text = ""  # which
        self.thinks_again = False  # thinking was opened a second time and has not ended
        self._engine, self._raw, self._stop = engine, raw, tuple(stop)
        self._open, self._close = engine.profile.think_open.strip(), engine.profile.think_close
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""  # taken and not shown yet
        self._end = b""  # an end of the turn that came last
        self._begun = {"reasoning": raw, "content": raw}  # leading space is shown in raw text only

    def take(self, ids: Iterable[int]) -> list[Delta]:
        """Read on."""
        end_ids, deltas = self._engine.end_ids, list[Delta]()
        for token in ids:
            self.count += 1
            if token in end_ids:
                self._end = self._engine.piece(token)  # the end of the turn, unless more follows: then it is text
                continue
            self._text += self._decoder.decode(self._end + self._engine.piece(token))
            self._end = b""
            if self.answer_from is None and self._close in self._text:
                deltas += self._end_of_thinking()
            if self.answer_from is not None and not self._raw:
                self._tags_in_answer()
        return [*deltas, *self._read(last=False)]

    def end(self) -> list[Delta]:
        """There are no more tokens."""
        self._text += self._decoder.decode(b"", True)
        return self._read(last=True)

    def _end_of_thinking(self) -> list[Delta]:
        thinking, _, self._text = self._text.partition(self._close)
        self.answer_from, self.thinks_again = self.count, False
        if self._raw:
            return self._delta("content", thinking + self._close)
        skipped = not self._begun["reasoning"] and self._engine.profile.skip_thinking.startswith(thinking + self._close)
        return [] if skipped else self._delta("reasoning", thinking.rstrip())

    def _tags_in_answer(self) -> None:
        """An answer that begins with thinking again, and an end of thinking where none is open."""
        if not self._begun["content"] and self._text.lstrip().startswith(self._open):
            self._text = self._text.lstrip().removeprefix(self._open)
            self.answer_from, self.thinks_again = None, True
        elif self._close in self._text:
            before, _, after = self._text.partition(self._close)
            if self._open not in before and not any(stop in before for stop in self._stop):
                self._text = before.rstrip() + after if after.strip() or not before.strip() else before + after

    def _read(self, *, last: bool) -> list[Delta]:
        if self.stopped:
            self._text = ""
            return []
        if self.answer_from is None:
            keep = 0
            if not last:
                space = 0 if self._raw else len(self._text) - len(self._text.rstrip())
                keep = max(space, _may_begin(self._text, (self._close,)))
            return self._release("content" if self._raw else "reasoning", keep)
        found, which = min(((at, stop) for stop in self._stop if (at := self._text.find(stop)) >= 0), default=(-1, ""))
        if found >= 0:
            self.stopped, self.stop_text = True, which
            text, self._text = self._text[:found], ""
            return self._delta("content", text)
        waits = (
            self._stop if self._raw else (*self._stop, self._close, *(() if self._begun["content"] else (self._open,)))
        )
        return self._release("content", 0 if last else _may_begin(self._text, waits))

    def _release(self, kind: Literal["reasoning", "content"], keep: int) -> list[Delta]:
        shown = len(self._text) - keep
        text, self._text = self._text[:shown], self._text[shown:]
        return self._delta(kind, text) if text else []

    def _delta(self, kind: Literal["reasoning", "content"], text: str) -> list[Delta]:
        if not self._begun[kind]:
            text = text.lstrip()
            self._begun[kind] = bool(text)
        return [Delta(kind, text)] if text else []


def content_of(deltas: Iterable[Delta]) -> str:
    """Return the visible answer."""
    return "".join(delta.text for delta in deltas if delta.kind == "content")


def loops(text: str, least: int) -> bool:
    """Return whether a text ends in `least` characters that are one short passage over and over, eight times or more.

    >>> loops("So it is 46. " + "No, 47. " * 10, 80), loops("1, 2, 3, 4, 5, 6, 7, 8, 9", 20)
    (True, False)
    """
    tail = text[-least:]
    if len(tail) < least:
        return False
    mark = tail[-max(1, least // 16) :]
    before = tail.rfind(mark, 0, len(tail) - 1)
    period = len(tail) - len(mark) - before
    return before >= 0 and 8 * period <= least and tail[period:] == tail[:-period]


def _may_begin(text: str, markers: Iterable[str]) -> int:
    """Characters at the end of a text that may be the beginning of a marker.

    >>> _may_begin("so 46 </th", ["</think>"]), _may_begin("46", ["</think>"])
    (4, 0)
    """
    longest = 0
    for mark in markers:
        at = text.find(mark[0], max(0, len(text) - len(mark) + 1))
        while at >= 0 and not mark.startswith(text[at:]):
            at = text.find(mark[0], at + 1)
        longest = max(longest, len(text) - at if at >= 0 else 0)
    return longest
