"""Train on whole chains, but not on their wrong solutions: those are read, not learned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from satisfice.core.builder import Makes, Part, Row, ending, piece
from satisfice.core.card import Card
from satisfice.core.fields import check_fields
from satisfice.core.problem import Verdict
from satisfice.core.trace import LOOKS, Trace
from satisfice.methods.tuning.candidates import ordered


@dataclass(frozen=True, kw_only=True)
class StepMask:
    """Train on right chains with the loss off on solutions that are wrong; looks back and corrections are learned.

    The paper's steps are an agent's actions, which a teacher judges and corrects. Here a step is a solution: the
    thinking up to a cue at which the recorded answer tells whether it is right. A solution whose verdict is unknown
    counts as wrong. With `cut` the chain ends with the first right solution that follows.
    """

    card: ClassVar = Card(
        id="step-mask",
        paper="arXiv:2505.20023",
        where="partial masking, from a digest",
        needs=frozenset(),
        fidelity="second-hand",
        system="self-reflected-masking",
        ours=("cut",),
        requires=frozenset({LOOKS}),
    )
    makes: ClassVar[Makes] = "rows"
    constant: ClassVar = ""

    cut: bool = False  # end with the first right solution

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Row]:
        return [self._row(trace) for trace in ordered(traces) if trace.right]

    def _row(self, trace: Trace) -> Row:
        parts: list[Part] = []
        look = None
        for one in trace.solutions:
            right = one.verdict is Verdict.RIGHT
            if one.begin < one.end:
                parts.append(piece(trace, one.begin, one.end, trained=right))
            if right and self.cut:
                look = one.look
                break
        parts += ending(trace, look)
        return Row(trace=trace, parts=tuple(parts), verdict=Verdict.RIGHT)
