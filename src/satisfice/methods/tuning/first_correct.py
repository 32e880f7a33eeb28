"""Train on each right chain up to its first right answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from satisfice.core.builder import Makes, Row, cut
from satisfice.core.card import Card
from satisfice.core.fields import check_fields
from satisfice.core.problem import Verdict
from satisfice.core.trace import LOOKS, Trace
from satisfice.methods.tuning.candidates import At, endings, ordered, shortest_right


@dataclass(frozen=True, kw_only=True)
class FirstCorrect:
    """Train on each right chain up to the first solution whose answer is right; what follows it is left out.

    A solution ends before a cue at which the recording asked the model for its answer. The row ends in the answer that
    the model itself gave there. A chain whose first solution is its last stays as it is.

    Asked too soon, a model may answer something else than it has just worked out. With `at=stated` a solution is right
    if the answer is that the thinking itself states, and the row ends in the chain's own answer.
    """

    card: ClassVar = Card(
        id="first-correct",
        paper="arXiv:2412.21187",
        where="Sec. 3.2, first-correct solutions (FCS)",
        needs=frozenset(),
        fidelity="paper",
        ours=("at", "samples"),
        requires=frozenset({LOOKS}),
    )
    makes: ClassVar[Makes] = "rows"
    constant: ClassVar = ""

    at: At = "cue"  # where a chain may end, and by which answer it is right there
    samples: Literal["all", "shortest"] = "all"  # right chains of a problem that rows are made of

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Row]:
        some = shortest_right(traces) if self.samples == "shortest" else ordered(traces)
        return [
            cut(trace, *next(one for one in endings(trace, self.at) if one.verdict is Verdict.RIGHT)[:2])
            for trace in some
            if trace.right
        ]
