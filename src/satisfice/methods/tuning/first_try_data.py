"""Train on chains that are cut at their i-th candidate answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.builder import Makes, Row, cut
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.problem import Verdict
from satisfice.core.trace import LOOKS, Trace
from satisfice.methods.tuning.candidates import draws, ordered


@dataclass(frozen=True, kw_only=True)
class FirstTryData:
    """Train on right chains cut at their `candidates`-th candidate answer, right or wrong, as long as the answer holds.

    Only chains with more than `more_than` candidates are taken, so that sets cut at different candidates are of the
    same chains; a row whose answer is not right after the cut is left out. With `tokens` the set is as large as that,
    so that two sets cost the same to train on; chains are then taken in a random order.

    The paper's finding: at equal training tokens, later cuts teach *better first answers*, and reflection is best taken
    out when the model is used (`first-try` stops it there).
    """

    card: ClassVar = Card(
        id="first-try-data",
        paper="arXiv:2510.08308",
        where="Sec. 4, cut-at-i",
        needs=frozenset(),
        fidelity="paper",
        system="first-try-matters",
        ours=("seed",),
        requires=frozenset({LOOKS}),
    )
    makes: ClassVar[Makes] = "rows"
    constant: ClassVar = ""

    candidates: Annotated[int, Range(1)] = 6  # the cut is at this one
    more_than: Annotated[int, Range(0)] = 6  # candidates that a chain has, at least one more
    tokens: Annotated[int | None, Range(1)] = None  # of all rows together, at most
    seed: Annotated[int, Range(0)] = 0  # of the order in which chains are taken

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Row]:
        rows = []
        for trace in ordered(traces):
            solutions = trace.solutions
            if trace.right and len(solutions) > self.more_than and len(solutions) >= self.candidates:
                one = solutions[self.candidates - 1]
                row = cut(trace, one.end, one.look)
                rows += [row] if row.verdict is Verdict.RIGHT else []
        if self.tokens is None:
            return rows
        taken, left = [], self.tokens
        for row in sorted(rows, key=lambda row: (draws(self.seed, row.trace).random(), row.trace.key)):
            if row.size <= left:
                taken.append(row)
                left -= row.size
        return sorted(taken, key=lambda row: row.trace.key)
