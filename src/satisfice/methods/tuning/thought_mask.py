"""Train on answers alone, with the thoughts that lead to them in context."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from satisfice.core.builder import Makes, Row, ending, piece
from satisfice.core.card import Card
from satisfice.core.fields import check_fields
from satisfice.core.problem import Verdict
from satisfice.core.trace import LOOKS, Trace
from satisfice.methods.tuning.candidates import ordered


@dataclass(frozen=True, kw_only=True)
class ThoughtMask:
    """Train on the last solution and the answer, with all thoughts before it in context and the loss off.

    The paper puts a weak model's rough answers in context and trains a better answer; here the rough answers are the
    chain's own earlier solutions. With `improved` only chains are taken whose first solution was wrong. Only the first
    term of the paper's loss is there: cross-entropy of the refined answer. The other two, of consistency and of
    confidence, are not specified well enough to be made. It teaches refinement and makes nothing shorter.
    """

    card: ClassVar = Card(
        id="thought-mask",
        paper="arXiv:2410.04707",
        where="masked fine-tuning, first term of the loss; from a digest",
        needs=frozenset(),
        fidelity="second-hand",
        system="progressive-thought-refinement",
        ours=("improved",),
        requires=frozenset({LOOKS}),
    )
    makes: ClassVar[Makes] = "rows"
    constant: ClassVar = ""

    improved: bool = False  # only chains whose first solution was wrong

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Row]:
        rows = []
        for trace in ordered(traces):
            solutions = trace.solutions
            if not trace.right or (self.improved and solutions[0].verdict is not Verdict.WRONG):
                continue
            edge = solutions[-1].begin
            thoughts = (piece(trace, 0, edge, trained=False),) if edge else ()
            refined = (piece(trace, edge, trace.thinking),) if edge < trace.thinking else ()
            rows.append(Row(trace=trace, parts=(*thoughts, *refined, *ending(trace, None)), verdict=trace.verdict))
        return rows
