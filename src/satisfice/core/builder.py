"""Builders: from recorded chains to the rows, or pairs of rows, that a supervised trainer takes.

A builder is any frozen, hashable object with a `card` that can be called as `Builder` says. It is a pure function: it
samples nothing and knows no tokenizer. What a model sampled stays in tokens; what the builder puts in is text, which
`satisfice shorten` encodes.

    @dataclass(frozen=True, kw_only=True)
    class Whole:
        card: ClassVar = Card(id="whole", paper="", where="my idea", needs=frozenset(), fidelity="standard")
        makes: ClassVar = "rows"
        constant: ClassVar = ""

        def __call__(self, traces):
            return [whole(trace) for trace in traces if trace.right]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from satisfice.core.card import Card
from satisfice.core.method import Kind
from satisfice.core.problem import Verdict
from satisfice.core.trace import Look, Trace

Makes = Literal["rows", "pairs"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of a row: tokens that the model sampled, or text that the builder puts in."""

    text: str
    ids: tuple[int, ...] | None = None  # None: the text is still to be encoded
    trained: bool = True  # False: in context, with the loss off
    begin: int | None = None  # place of its first token in the chain; None for what does not stand there


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One thing to learn: what should follow a prompt.

    `question` takes the place of the problem's own where it is not empty; the prompt is then made anew.
    """

    trace: Trace  # the chain that it is made of
    parts: tuple[Part, ...]
    verdict: Verdict  # of the answer that it ends in
    question: str = ""
    note: str = ""  # what a person should know of it: the level that was drawn, say

    @property
    def size(self) -> int:
        """Tokens behind the prompt, those of text that is still to be encoded left out."""
        return sum(len(part.ids or ()) for part in self.parts)

    @property
    def form(self) -> tuple[object, ...]:
        """What makes two rows the same one."""
        return (self.trace.problem.task, self.trace.problem.id, self.question, self.parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Two rows of one problem: the first is to become likelier than the second."""

    chosen: Row
    rejected: Row


class Builder(Protocol):
    """Makes rows or pairs of recorded chains.

    What it returns must not depend on the order of the traces, and must be the same every time. `constant` says of
    pairs what the chosen and the rejected row have in common, so that only what differs can be learned.
    """

    card: ClassVar[Card]
    makes: ClassVar[Makes]
    constant: ClassVar[str]

    def __call__(self, traces: Sequence[Trace], /) -> Sequence[Row] | Sequence[Pair]: ...


BUILDER: Kind[Builder] = Kind(
    name="builder",
    protocol=Builder,
    example="first-correct, first-try-data(candidates=2)",
    about="A builder is called with recorded chains, `builder(traces)`, and returns rows or pairs to train on.",
    battery="satisfice.testing.builders:check_builder",
)


def piece(trace: Trace, begin: int, end: int, *, trained: bool = True) -> Part:
    """Return tokens of the chain itself."""
    return Part(text=trace.text(begin, end), ids=trace.ids[begin:end], trained=trained, begin=begin)


def written(text: str, *, trained: bool = True) -> Part:
    """Return text that the builder puts in."""
    return Part(text=text, trained=trained)


def whole(trace: Trace, note: str = "") -> Row:
    """Return a chain as it is."""
    return Row(trace=trace, parts=(piece(trace, 0, len(trace.ids)),), verdict=trace.verdict, note=note)


def ending(trace: Trace, look: Look | None) -> tuple[Part, ...]:
    """Return what ends a row: the closing words and the answer of a look, or those of the chain itself (None)."""
    if look is None:
        return (piece(trace, trace.thinking, len(trace.ids)),)
    return written(trace.profile.close_thinking), Part(text=look.text, ids=look.ids)


def cut(trace: Trace, at: int, look: Look | None, note: str = "") -> Row:
    """Return a chain whose thinking ends after `at` tokens, with the answer of a look there or its own last (None)."""
    if look is None and at >= trace.thinking:
        return whole(trace, note)
    parts = (*((piece(trace, 0, at),) if at else ()), *ending(trace, look))
    return Row(trace=trace, parts=parts, verdict=trace.verdict if look is None else look.verdict, note=note)
