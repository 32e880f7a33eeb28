"""Neighbouring tokens of one origin: what a chain is made of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal


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
