"""Train on chains that stop as soon as the model is sure of its answer, with words of confidence in place of doubt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.builder import Makes, Row, ending, piece, whole, written
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.problem import Verdict
from satisfice.core.trace import CERTAINTY, LOOKS, Trace
from satisfice.methods.tuning.candidates import ordered


@dataclass(frozen=True, kw_only=True)
class ConciseDataWords:
    """What it puts in; a model's `profile.json` may say otherwise under `rules`."""

    assurance: str = "I'm confident in this. Therefore, let's proceed.\n"  # in place of a reflection; "" for none


@dataclass(frozen=True, kw_only=True)
class ConciseData:
    """Train on each chain up to the first solution that the model is sure of, a sure phrase in place of what followed.

    After each solution the certainty of a trial answer is the geometric mean probability of its tokens. The first above
    `threshold` ends the chain: what followed is dropped, a phrase of confidence stands there, then the closing words
    and the answer. Rows whose answer is not right are left out.

    Reconstructed: the paper steps into the model's own sampling, drops a reflection wherever one would begin and
    samples on from the phrase. Recorded chains are not sampled on, so the phrase stands at the end alone. The paper
    asks for certainty by words ("confident", "sure"); here the trial answer itself tells it.
    """

    card: ClassVar = Card(
        id="concise-data",
        paper="arXiv:2505.04881",
        where="confidence injection and early stopping, from a digest",
        needs=frozenset(),
        fidelity="reconstructed",
        system="concise-confidence",
        ours=("threshold",),
        requires=frozenset({LOOKS, CERTAINTY}),
    )
    makes: ClassVar[Makes] = "rows"
    constant: ClassVar = ""
    words: ClassVar = ConciseDataWords()

    threshold: Annotated[float, Range(0, 1)] = 0.95  # certainty of the trial answer; strict

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Row]:
        rows = (self.row(trace) for trace in ordered(traces) if trace.whole)
        return [row for row in rows if row.verdict is Verdict.RIGHT]

    def row(self, trace: Trace) -> Row:
        """Return a chain up to the first solution that the model is sure of."""
        for one in trace.solutions:
            look = one.look
            if look is not None and look.certainty is not None and look.certainty > self.threshold:
                phrase = trace.profile.words(self.card.id, self.words).assurance
                assured = (written(phrase),) if phrase else ()
                parts = (piece(trace, 0, one.end), *assured, *ending(trace, look))
                return Row(trace=trace, parts=parts, verdict=look.verdict, note=f"certainty {look.certainty:.2f}")
        return whole(trace)
