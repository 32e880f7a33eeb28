"""Train a model to brake as soon as the steps after its first solution weigh too much."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.builder import Makes, Part, Row, ending, piece, whole, written
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.problem import Verdict
from satisfice.core.trace import LOOKS, Trace
from satisfice.methods.tuning.braking import BrakingWords, dynamic_brake, marker_tokens, steps_between
from satisfice.methods.tuning.candidates import ordered


@dataclass(frozen=True, kw_only=True)
class SelfBrakingDynamic:
    """Train on the first solution and on steps after it until they weigh too much, then on the words that stop them.

    Steps that follow the first right solution are added one by one, and after each the overthinking score (see
    `dynamic_brake`) is taken anew. The step that brings it to `threshold` is the last that is trained on; steps up to
    the one that brings it above `threshold + margin` stay in context with the loss off. Then come `BrakingWords.brake`,
    the closing words and the answer that the model gave after its first right solution. A
    chain that never gets there stays as it is.

    The braking words stand behind the masked steps, as in the authors' code; the paper says before.
    """

    card: ClassVar = Card(
        id="self-braking-dynamic",
        paper="arXiv:2505.14604",
        where="Sec. 3.2, SBT-D; the authors' data script",
        needs=frozenset(),
        fidelity="second-hand",
        system="self-braking",
        requires=frozenset({LOOKS}),
    )
    makes: ClassVar[Makes] = "rows"
    constant: ClassVar = ""
    words: ClassVar = BrakingWords(
        brake="Wait, my thinking is getting too verbose. I should be more concise and answer."
    )

    threshold: Annotated[float, Range(0, 1)] = 0.2  # score
    margin: Annotated[float, Range(0, 1)] = 0.05  # of the score, between the last trained step and the last kept one
    beta: Annotated[float, Range(0, 1)] = 0.1  # weight of markers

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Row]:
        return [self._row(trace) for trace in ordered(traces) if trace.right]

    def _row(self, trace: Trace) -> Row:
        words = trace.profile.words(self.card.id, self.words)
        first = next(one for one in trace.solutions if one.verdict is Verdict.RIGHT)
        added = steps_between(trace, first.end, trace.thinking)
        sizes = [(end - begin, marker_tokens(trace, words.markers, begin, end)) for begin, end in added]
        brake = dynamic_brake(
            len(steps_between(trace, 0, first.end)), first.end, sizes,
            threshold=self.threshold, margin=self.margin, beta=self.beta,
        )  # fmt: skip
        if brake is None:
            return whole(trace, "never above the threshold")
        edge, end = added[brake.trained - 1][1], added[brake.kept - 1][1]
        parts: list[Part] = [piece(trace, 0, edge)]
        if end > edge:
            parts.append(piece(trace, edge, end, trained=False))
        if words.brake:
            parts.append(written(words.brake))
        parts += ending(trace, first.look)
        return Row(trace=trace, parts=tuple(parts), verdict=first.verdict, note=f"{brake.kept} steps kept")
