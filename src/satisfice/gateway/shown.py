"""From the tokens of a chain to what a client reads: thinking, answer, and what waits for its rest; pure."""

import codecs
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from satisfice.core.engine import Engine


class Piece(NamedTuple):
    """Something new for a client to read."""

    kind: Literal["reasoning", "content"]
    text: str


class Shown:
    """What of one chain a client has read.

    `take` is given further tokens of the chain, `end` says that there are no more; both return what is new to read.
    With `raw` thinking, its end and answer are one text. `stop` texts end the answer and are not shown; thinking may
    hold them.
    """

    def __init__(self, engine: Engine, *, thinks: bool = True, raw: bool = False, stop: Sequence[str] = ()) -> None:
        self.count = 0  # tokens taken
        self.answer_from = None if thinks else 0  # of these, so many before the answer
        self.stopped = False  # a stop text has come: nothing more is shown
        self._engine, self._raw, self._stop = engine, raw, tuple(stop)
        self._close = engine.profile.think_close
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""  # taken and not shown yet
        self._end = b""  # an end of the turn that came last
        self._begun = {"reasoning": raw, "content": raw}  # leading space is shown in raw text only

    def take(self, ids: Iterable[int]) -> list[Piece]:
        """Read on."""
        end_ids, pieces = self._engine.end_ids, []
        for token in ids:
            self.count += 1
            if token in end_ids:
                self._end = self._engine.piece(token)  # the end of the turn, unless more follows: then it is text
                continue
            self._text += self._decoder.decode(self._end + self._engine.piece(token))
            self._end = b""
            if self.answer_from is None and self._close in self._text:
                pieces += self._end_of_thinking()
        return [*pieces, *self._read(last=False)]

    def end(self) -> list[Piece]:
        """There are no more tokens."""
        self._text += self._decoder.decode(b"", True)
        return self._read(last=True)

    def _end_of_thinking(self) -> list[Piece]:
        thinking, _, self._text = self._text.partition(self._close)
        self.answer_from = self.count
        if self._raw:
            return self._piece("content", thinking + self._close)
        skipped = not self._begun["reasoning"] and self._engine.profile.skip_thinking.startswith(thinking + self._close)
        return [] if skipped else self._piece("reasoning", thinking.rstrip())

    def _read(self, *, last: bool) -> list[Piece]:
        if self.stopped:
            self._text = ""
            return []
        if self.answer_from is None:
            keep = 0
            if not last:
                space = 0 if self._raw else len(self._text) - len(self._text.rstrip())
                keep = max(space, _may_begin(self._text, (self._close,)))
            return self._release("content" if self._raw else "reasoning", keep)
        found = min((at for stop in self._stop if (at := self._text.find(stop)) >= 0), default=-1)
        if found >= 0:
            self.stopped = True
            text, self._text = self._text[:found], ""
            return self._piece("content", text)
        return self._release("content", 0 if last else _may_begin(self._text, self._stop))

    def _release(self, kind: Literal["reasoning", "content"], keep: int) -> list[Piece]:
        shown = len(self._text) - keep
        text, self._text = self._text[:shown], self._text[shown:]
        return self._piece(kind, text) if text else []

    def _piece(self, kind: Literal["reasoning", "content"], text: str) -> list[Piece]:
        if not self._begun[kind]:
            text = text.lstrip()
            self._begun[kind] = bool(text)
        return [Piece(kind, text)] if text else []


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
