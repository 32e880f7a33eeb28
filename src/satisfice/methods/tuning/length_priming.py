"""Train a model to think as long as its prompt says: how long it was, how long it is to be, and what goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.builder import Makes, Row, whole
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.trace import LOOKS, Trace
from satisfice.methods.tuning.first_correct import FirstCorrect
from satisfice.methods.tuning.first_correct_plus_one import FirstCorrectPlusOne


@dataclass(frozen=True, kw_only=True)
class LengthPrimingWords:
    """What the prompt says; a model's `profile.json` may say otherwise under `rules`.

    `{question}`, `{source}`, `{target}` and `{deleted}` stand for the question and for numbers of steps.
    """

    prompt: str = (
        "{question}\n\nA full solution has {source} steps. Think in {target} of them: leave {deleted} out."
    )  # fmt: skip


def counts(source: int, target: int) -> tuple[int, int, int]:
    """Return the three numbers of a primed prompt, which agree: what there is, what stays, what goes.

    >>> counts(12, 5)
    (12, 5, 7)
    """
    return source, target, source - target


@dataclass(frozen=True, kw_only=True)
class LengthPriming:
    """Train on right chains at several lengths, each under a prompt that says how long it is to be.

    Each chain gives up to three rows: cut as by `first-correct`, as by `first-correct-plus-one`, and whole. The prompt
    states three numbers that agree: steps of the chain, steps of this row, and how many go. So the model learns to
    follow the numbers, not to be short: ask it with the numbers you want.

    The paper compresses sentences and counts words; here a chain is shortened and steps are counted.
    """

    card: ClassVar = Card(
        id="length-priming",
        paper="arXiv:2406.11097",
        where="length priming, as a format to train on; the authors' prompts",
        needs=frozenset(),
        fidelity="second-hand",
        system="instructcmp",
        ours=("least",),
        requires=frozenset({LOOKS}),
    )
    makes: ClassVar[Makes] = "rows"
    constant: ClassVar = ""
    words: ClassVar = LengthPrimingWords()

    least: Annotated[int, Range(1)] = 1  # steps by which rows of one chain differ, at least

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Row]:
        cuts = [*FirstCorrect()(traces), *FirstCorrectPlusOne()(traces), *(whole(one) for one in traces if one.right)]
        rows: list[Row] = []
        said: dict[int, list[int]] = {}
        for row in sorted(cuts, key=lambda row: (row.trace.key, row.size)):
            steps = self._steps(row)
            others = said.setdefault(id(row.trace), [])
            if all(abs(steps - other) >= self.least for other in others):
                others.append(steps)
                rows.append(self._primed(row, steps))
        return rows

    def _steps(self, row: Row) -> int:
        kept = sum(len(part.ids or ()) for part in row.parts if part.begin is not None)
        return sum(begin < min(kept, row.trace.thinking) for begin, _ in row.trace.steps)

    def _primed(self, row: Row, steps: int) -> Row:
        source, target, deleted = counts(len(row.trace.steps), steps)
        question = row.trace.profile.words(self.card.id, self.words).prompt
        for name, value in (("source", source), ("target", target), ("deleted", deleted)):
            question = question.replace(f"{{{name}}}", str(value))
        question = question.replace("{question}", row.trace.problem.question)
        return Row(trace=row.trace, parts=row.parts, verdict=row.verdict, question=question, note=f"{target} steps")
