"""Train one model to answer fast, slow or as it sees fit, on traces with more and more left out at random."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.builder import Makes, Row, ending, piece, whole
from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.trace import Trace
from satisfice.methods.tuning.candidates import draws, ordered
from satisfice.methods.tuning.pir import joined


@dataclass(frozen=True, kw_only=True)
class DualformerWords:
    """The clauses of a search trace, as regular expressions; a model's `profile.json` may say otherwise."""

    close: str = r"^\s*close\b"  # a step that closes a node, or looks back
    cost: str = r"\bc\d+(?:\s+c\d+)*"  # what a step costs, within it
    create: str = r"^\s*create\b"  # a step that creates a node


def level_drawn(u: float, probs: Sequence[float]) -> int:
    """Return the level of dropping for a uniform draw: 0 keeps the whole trace, 4 drops it.

    >>> [level_drawn(u, (0.2, 0.2, 0.2, 0.1)) for u in (0.05, 0.25, 0.59, 0.65, 0.8)]
    [1, 2, 3, 4, 0]
    """
    edges = np.cumsum(probs)
    return next((i for i, edge in enumerate(edges, 1) if u < edge), 0)


@dataclass(frozen=True, kw_only=True)
class Dualformer:
    """Train on right chains with parts left out at one of four levels, drawn for each; the rest stay whole.

    Each level includes those before it: 1 drops clauses that close a node, 2 also what steps cost, 3 also `share` of
    the clauses that create one, 4 the whole thinking. The answer always stays. Clauses are told by `DualformerWords`;
    in a chain without any, as in prose, each step between the first and the last is dropped with probability `share`
    (levels 1 to 3), as the paper does with MATH.

    The probabilities are ours: the paper's are arguments of a run. The authors' maze code keeps the costs at level 3
    and drops a uniform 10 to 40 % of the clauses; here every level includes the one before, as the paper says.
    """

    card: ClassVar = Card(
        id="dualformer",
        paper="arXiv:2410.09918",
        where="Sec. 3.1, structured trace dropping; Sec. 4.3 for prose",
        needs=frozenset(),
        fidelity="second-hand",
        system="dualformer",
        ours=("level_1", "level_2", "level_3", "level_4", "seed"),
    )
    makes: ClassVar[Makes] = "rows"
    constant: ClassVar = ""
    words: ClassVar = DualformerWords()

    level_1: Annotated[float, Range(0, 1)] = 0.15  # probability of each level; what is left keeps all
    level_2: Annotated[float, Range(0, 1)] = 0.15
    level_3: Annotated[float, Range(0, 1)] = 0.15
    level_4: Annotated[float, Range(0, 1)] = 0.05
    share: Annotated[float, Range(0, 1)] = 0.3  # of creating clauses, or of steps of prose, that go
    seed: Annotated[int, Range(0)] = 0  # draw anew for each epoch with another

    def __post_init__(self) -> None:
        check_fields(self)
        if sum(self._probs) > 1 + 1e-9:
            raise BadInput(f"dualformer: levels 1 to 4 have probabilities of at most 1 together, got {self._probs}.")

    @property
    def _probs(self) -> tuple[float, float, float, float]:
        return self.level_1, self.level_2, self.level_3, self.level_4

    def __call__(self, traces: Sequence[Trace]) -> list[Row]:
        return [self._row(trace) for trace in ordered(traces) if trace.right]

    def _row(self, trace: Trace) -> Row:
        rng = draws(self.seed, trace)
        level = level_drawn(rng.random(), self._probs)
        note = f"level {level}"
        if level == 0:
            return whole(trace, note)
        kept = [] if level == 4 else joined(self.kept(trace, level, rng))
        parts = (*(piece(trace, *run) for run in kept), *ending(trace, None))
        return Row(trace=trace, parts=parts, verdict=trace.verdict, note=note)

    def kept(self, trace: Trace, level: int, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Return what stays of a chain's thinking at a level from 1 to 3, in tokens."""
        words = trace.profile.words(self.card.id, self.words)
        texts = [trace.text(*step) for step in trace.steps]
        closes = [re.search(words.close, text) is not None for text in texts]
        creates = [re.search(words.create, text) is not None for text in texts]
        costs = [list(re.finditer(words.cost, text)) for text in texts]
        u = rng.random(len(texts))
        if not any(closes) and not any(creates):
            inner = range(1, len(texts) - 1)
            return [step for i, step in enumerate(trace.steps) if i not in inner or u[i] >= self.share]
        stays = []
        for i, (begin, end) in enumerate(trace.steps):
            if closes[i] or (level >= 3 and creates[i] and u[i] < self.share):
                continue
            gone: set[int] = set()
            for hit in costs[i] if level >= 2 else ():
                base = trace.offsets[begin]
                gone.update(range(*trace.tokens_over(base + hit.start(), base + hit.end())))
            stays += [(at, at + 1) for at in range(begin, end) if at not in gone]
        return stays
