"""The contrast: train on the longest right chains, drawn by their rank in length."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.builder import Makes, Row, whole
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.trace import Trace
from satisfice.methods.tuning.candidates import draws, ordered


def keep_probability(index: int, n: int) -> float:
    """Return how likely the `index`-th shortest of `n` is kept (from 0): the shortest never, the longer half surely.

        r = 1 - index / n,   p = 1 - min(1, 2 r^3)

    >>> [round(keep_probability(i, 5), 3) for i in range(5)]
    [0.0, 0.0, 0.568, 0.872, 0.984]
    """
    return 1 - min(1.0, 2 * (1 - index / n) ** 3)


def well_formed(text: str, *, n: int = 13, most: int = 3) -> bool:
    """Return whether a text ends as a text does, and says no `n` words in a row more than `most` times.

    >>> well_formed("It is 4."), well_formed("It is"), well_formed("so it goes on and on " * 20 + ".")
    (True, False, False)
    """
    words = text.split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    ends = re.search(r"[\d.!?)}\]\"'”]\s*\Z", text) is not None
    return ends and max(Counter(grams).values(), default=0) <= most


def following(length: float, low: float, high: float) -> float:
    """Return how well a length follows what was asked, from `low` to `high`: 1 within, falling to 0 outside.

        2 len / low - 1 below,   3 - 2 len / high above

    >>> following(100, 80, 120), following(60, 80, 120), following(150, 80, 120), following(10, 80, 120)
    (1.0, 0.5, 0.5, 0.0)
    """
    if low <= length <= high:
        return 1.0
    return max(0.0, 2 * length / low - 1 if length < low else 3 - 2 * length / high)


@dataclass(frozen=True, kw_only=True)
class SelfLengthen:
    """Train on right chains that are drawn by length, long ones first: what makes a model think *longer*.

    The contrast to every other builder here, for experiments that want both ends. Right chains of a task are ranked by
    length, and each is kept with a probability that grows with its rank, `keep_probability`. Chains that go in circles
    are left out. The paper's second model, which extends drafts, is not part of it: chains are taken as recorded.
    """

    card: ClassVar = Card(
        id="self-lengthen",
        paper="arXiv:2410.23933",
        where="length filter; the authors' script",
        needs=frozenset(),
        fidelity="second-hand",
        system="self-lengthen",
        ours=("seed",),
    )
    makes: ClassVar[Makes] = "rows"
    constant: ClassVar = ""

    seed: Annotated[int, Range(0)] = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Row]:
        rows = []
        right = [trace for trace in ordered(traces) if trace.right and well_formed(trace.text())]
        for task in sorted({trace.problem.task for trace in right}):
            group = sorted((t for t in right if t.problem.task == task), key=lambda t: (len(t.ids), t.key))
            for index, trace in enumerate(group):
                if draws(self.seed, trace).random() < keep_probability(index, len(group)):
                    rows.append(whole(trace))
        return sorted(rows, key=lambda row: row.trace.key)
