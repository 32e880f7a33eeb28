"""Leave steps out that the answer does not need, by how much less likely the answer becomes without them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from satisfice.core.builder import Makes, Row, ending, piece, whole
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.trace import ABSENCE, Trace
from satisfice.methods.tuning.candidates import ordered

Class = Literal["progressive", "verification", "multi-method", "error-correction"]


@dataclass(frozen=True, kw_only=True)
class PirWords:
    """The words that a functional step begins with; a model's `profile.json` may say otherwise under `rules`."""

    verification: tuple[str, ...] = ("Let me check", "Let me verify", "Let me double", "Check", "To verify", "Verify")
    multi_method: tuple[str, ...] = ("Alternatively", "Another way", "Another approach", "Let me try another")
    error_correction: tuple[str, ...] = (
        "Wait",
        "Hold on",
        "But wait",
        "Hmm",
        "Oh",
        "That is wrong",
        "I made a mistake",
    )


def importance(with_step: Sequence[float], without: Sequence[float]) -> float:
    """Return how much a step matters: how much the mean negative log-probability of the answer rises without it, nats.

        PIR_i = ln PPL(answer | chain without i) - ln PPL(answer | chain)

    Given are the probabilities of the answer's tokens under a scoring model, with the step and without.

    >>> [round(importance((0.9, 0.8), p), 4) for p in ((0.85, 0.8), (0.92, 0.82), (0.5, 0.4))]
    [0.0286, -0.0233, 0.6405]
    """
    return sum(map(math.log, with_step)) / len(with_step) - sum(map(math.log, without)) / len(without)


def pruned(classes: Sequence[Class], values: Mapping[int, float], ratio: float) -> set[int]:
    """Return the steps to leave out: of each functional class by itself, the least important `floor(ratio n)`.

    Of equals the later one goes first. Progressive steps are never left out.

    >>> sorted(pruned(["verification"] * 4, {0: 0.5, 1: -0.4, 2: 0.1, 3: -0.9}, 0.5))
    [1, 3]
    """
    gone: set[int] = set()
    for kind in ("verification", "multi-method", "error-correction"):
        own = sorted((i for i, one in enumerate(classes) if one == kind), key=lambda i: (values[i], -i))
        gone.update(own[: math.floor(ratio * len(own))])
    return gone


def classes(trace: Trace, units: Sequence[tuple[int, int]], words: PirWords) -> list[Class]:
    """Return what each unit of a chain is for, by the words that it begins with: progressive unless these say else."""
    kinds: tuple[tuple[Class, tuple[str, ...]], ...] = (
        ("verification", words.verification), ("multi-method", words.multi_method),
        ("error-correction", words.error_correction),
    )  # fmt: skip
    found: list[Class] = []
    for unit in units:
        text = trace.text(*unit).lstrip().casefold()
        own = [kind for kind, starts in kinds if text.startswith(tuple(start.casefold() for start in starts))]
        found.append(own[0] if own else "progressive")
    return found


@dataclass(frozen=True, kw_only=True)
class Pir:
    """Leave out looks back that the answer does not need, by the perplexity of the answer without each of them.

        PIR_i = ln PPL(answer | chain without i) - ln PPL(answer | chain)

    Of each class of functional steps (verification, another method, error correction) by itself, `floor(ratio n)` of
    the least important are left out of a right chain; progressive steps never are. Each step is measured against the
    whole chain. A step is what the profile's delimiter ends, or with `unit=solution` all from one look at a cue to the
    next, for models that look back over several lines.

    Classes are told by the words that a step begins with (`PirWords`); the paper has a language model tell them. An
    error correction without its error would be a contradiction, so those stay unless `corrections` is set.
    """

    card: ClassVar = Card(
        id="pir",
        paper="arXiv:2505.19187",
        where="Sec. 3 and algorithm 1",
        needs=frozenset(),
        fidelity="paper",
        system="pir",
        ours=("unit", "ratio", "corrections"),
        requires=frozenset({ABSENCE}),
    )
    makes: ClassVar[Makes] = "rows"
    constant: ClassVar = ""
    words: ClassVar = PirWords()

    unit: Literal["step", "solution"] = "step"  # what is measured and left out
    ratio: Annotated[float, Range(0, 1)] = 0.3  # of the steps of each functional class that go; 0.2 to 0.8 in the paper
    corrections: bool = False  # error corrections may go too

    def __post_init__(self) -> None:
        check_fields(self)

    def stretches(self, trace: Trace) -> list[tuple[int, int]]:
        """Return the functional steps of a chain, in tokens: what a scoring model is asked about."""
        units = self._units(trace)
        kinds = classes(trace, units, trace.profile.words(self.card.id, self.words))
        return [unit for unit, kind in zip(units, kinds, strict=True) if kind != "progressive"]

    def _units(self, trace: Trace) -> Sequence[tuple[int, int]]:
        return trace.steps if self.unit == "step" else [(one.begin, one.end) for one in trace.solutions]

    def __call__(self, traces: Sequence[Trace]) -> list[Row]:
        return [self._row(trace) for trace in ordered(traces) if trace.right]

    def _row(self, trace: Trace) -> Row:
        units = self._units(trace)
        kinds = classes(trace, units, trace.profile.words(self.card.id, self.words))
        if not self.corrections:
            kinds = ["progressive" if kind == "error-correction" else kind for kind in kinds]
        known = {(begin, end): value for begin, end, value in trace.absence or ()}
        values = {i: known[step] for i, step in enumerate(units) if kinds[i] != "progressive" and step in known}
        kinds = [kind if i in values else "progressive" for i, kind in enumerate(kinds)]
        gone = pruned(kinds, values, self.ratio)
        kept = [step for i, step in enumerate(units) if i not in gone]
        if not gone or not kept:
            return whole(trace)
        parts = (*(piece(trace, *run) for run in joined(kept)), *ending(trace, None))
        return Row(trace=trace, parts=parts, verdict=trace.verdict, note=f"{len(gone)} steps left out")


def joined(steps: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return steps with neighbours put together.

    >>> joined([(0, 2), (2, 5), (7, 9)])
    [(0, 5), (7, 9)]
    """
    runs: list[tuple[int, int]] = []
    for begin, end in steps:
        if runs and runs[-1][1] == begin:
            runs[-1] = runs[-1][0], end
        else:
            runs.append((begin, end))
    return runs
