"""What a chain is made of: spans of tokens of one origin, and how far its thinking is."""

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from satisfice.core.engine import Engine

Phase = Literal["think", "answer", "done"]
Ended = Literal["", "model", "rule", "limit", "turn"]
"""How thinking ended: not yet, by the model, by a rule, by a token limit, or with the whole turn (so: no answer)."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Neighbouring tokens of one origin. `by` names the chain that added them (a fork carries its parent's spans)."""

    kind: Literal["prompt", "sampled", "injected"]
    ids: tuple[int, ...]
    by: str


def first_spans(spans: Iterable[Span], length: int) -> Iterator[Span]:
    """Yield the spans of the first `length` tokens."""
    for span in spans:
        if length <= 0:
            return
        yield span if len(span.ids) <= length else replace(span, ids=span.ids[:length])
        length -= len(span.ids)


def closed_at(ids: list[int], engine: Engine) -> tuple[int, int] | None:
    """Return how many tokens stand before the end of thinking, and up to its end; None where there is no end."""
    close, mark = engine.profile.think_close, engine.encode(engine.profile.think_close)
    if len(mark) == 1 and mark[0] in ids:
        return ids.index(mark[0]), ids.index(mark[0]) + 1
    if close not in (text := engine.decode(ids)):
        return None
    end = bisect.bisect_left(range(len(ids)), True, key=lambda n: close in engine.decode(ids[: n + 1])) + 1
    before = text.partition(close)[0]
    begin = bisect.bisect_left(range(end), True, key=lambda n: len(engine.decode(ids[: n + 1])) > len(before))
    return begin, end
