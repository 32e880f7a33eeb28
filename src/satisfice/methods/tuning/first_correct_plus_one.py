"""Train on each right chain up to the solution that confirms its first right answer."""

import itertools
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
class FirstCorrectPlusOne:
    """Train on each right chain up to the solution that confirms its first right answer: one look back stays in.

    As `first-correct`, but the chain ends with the solution after the first right one, if that is right too; else with
    the first right one that the next confirms. A chain that confirms nothing stays as it is. The paper recommends it
    over `first-correct` for hard problems.

    With `at=stated` a solution is right if the answer is that the thinking itself had stated last, and the row ends in
    the chain's own answer.
    """

    card: ClassVar = Card(
        id="first-correct-plus-one",
        paper="arXiv:2412.21187",
        where="Sec. 3.2, first-correct solutions and reflection (FCS+Reflection)",
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
        rows = []
        for trace in some:
            if trace.right:
                pairs = itertools.pairwise(endings(trace, self.at))
                confirmed = (b[:2] for a, b in pairs if a.verdict is Verdict.RIGHT is b.verdict)
                rows.append(cut(trace, *next(confirmed, (trace.thinking, None))))
        return rows
