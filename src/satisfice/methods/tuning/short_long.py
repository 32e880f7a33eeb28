"""Prefer the shortest right chain of a problem to its longest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.builder import Makes, Pair, whole
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.trace import SEVERAL, Trace, by_problem


@dataclass(frozen=True, kw_only=True)
class ShortLong:
    """Prefer the shortest right chain of a problem to its longest right one.

    The plain way to make pairs for length, and the baseline of the others. Problems with one right chain, or whose
    right chains are as long as one another up to `gap`, make no pair.
    """

    card: ClassVar = Card(
        id="short-long",
        paper="arXiv:2412.21187",
        where="Sec. 3.2, shortest response against longest",
        needs=frozenset(),
        fidelity="paper",
        ours=("gap",),
        requires=frozenset({SEVERAL}),
    )
    makes: ClassVar[Makes] = "pairs"
    constant: ClassVar = "that the answer is right"

    gap: Annotated[float, Range(0, 1)] = 0.0  # share of the longer one that it must be longer by, at least

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Pair]:
        pairs = []
        for group in by_problem(traces):
            right = [trace for trace in group if trace.right]
            if len(right) > 1:
                short = min(right, key=lambda trace: len(trace.ids))
                long = max(right, key=lambda trace: len(trace.ids))
                if len(long.ids) - len(short.ids) > self.gap * len(long.ids):
                    pairs.append(Pair(chosen=whole(short), rejected=whole(long)))
        return pairs
