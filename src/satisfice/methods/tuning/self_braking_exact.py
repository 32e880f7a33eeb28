"""Train a model to brake after its second solution: a masked beginning of the third, then words that stop it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.builder import Makes, Part, Row, ending, piece, whole, written
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.problem import Verdict
from satisfice.core.trace import LOOKS, Trace
from satisfice.methods.tuning.braking import (
    BrakingWords,
    first_sentences,
    marker_tokens,
    overthink_score,
    steps_between,
)
from satisfice.methods.tuning.candidates import ordered


@dataclass(frozen=True, kw_only=True)
class SelfBrakingExact:
    """Train on the first solution and one more, then on the words that stop a third, whose beginning is masked.

    Per right chain with FS steps up to its first right solution, TS in all:

        score = beta (marker tokens / tokens) + (1 - beta)(1 - FS / TS)

    Where the score is above `threshold`, the row is the chain up to the end of the solution after the first right one,
    the first `masked` sentences of what follows with the loss off, `BrakingWords.brake`, the closing words and the
    answer. Any other chain stays as it is, and so does one whose answer at that place is not right.

    The paper puts the braking words before the masked piece, which its code returns apart and leaves out: `brake_first`
    is the paper's order. Markers are whole words (the code also finds "But" in "button").
    """

    card: ClassVar = Card(
        id="self-braking-exact",
        paper="arXiv:2505.14604",
        where="Sec. 3.2, SBT-E; the authors' data script",
        needs=frozenset(),
        fidelity="second-hand",
        system="self-braking",
        ours=("brake_first",),
        requires=frozenset({LOOKS}),
    )
    makes: ClassVar[Makes] = "rows"
    constant: ClassVar = ""
    words: ClassVar = BrakingWords()

    threshold: Annotated[float, Range(0, 1)] = 0.2  # score; strict
    beta: Annotated[float, Range(0, 1)] = 0.1  # weight of markers
    masked: Annotated[int, Range(0)] = 2  # sentences of the next solution that stay in context, loss off
    brake_first: bool = False  # the braking words stand before the masked piece

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Row]:
        return [self._row(trace) for trace in ordered(traces) if trace.right]

    def _row(self, trace: Trace) -> Row:
        words = trace.profile.words(self.card.id, self.words)
        solutions = trace.solutions
        first = next(i for i, one in enumerate(solutions) if one.verdict is Verdict.RIGHT)
        kept = solutions[min(first + 1, len(solutions) - 1)]
        if kept.look is None or kept.verdict is not Verdict.RIGHT:
            return whole(trace, "nothing to brake")
        steps = len(steps_between(trace, 0, solutions[first].end))
        score = overthink_score(
            steps, len(trace.steps), marker_tokens(trace, words.markers, 0, trace.thinking), max(1, trace.thinking),
            self.beta,
        )  # fmt: skip
        if score <= self.threshold:
            return whole(trace, "below the threshold")
        edge = first_sentences(trace, kept.end, trace.thinking, self.masked) if self.masked else kept.end
        braking: list[Part] = [piece(trace, kept.end, edge, trained=False)] if edge > kept.end else []
        if words.brake:
            braking.insert(0 if self.brake_first else len(braking), written(words.brake))
        parts = (piece(trace, 0, kept.end), *braking, *ending(trace, kept.look))
        return Row(trace=trace, parts=parts, verdict=kept.verdict, note=f"score {score:.2f}")
