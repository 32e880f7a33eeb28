"""Which setting of which rule to switch on: chosen on some problems, promised on others.

The problems are divided by a hash of their ids. On a third of them every setting of every ladder is replayed, and the
ladder is chosen that promises to save most. On the other two thirds, which had no part in that, its settings are
tested in their order, the safest first, up to the first that may lose too much: `measure.promises.fixed_sequence`. So
the promise holds with the confidence asked for, however many ladders and settings were looked at.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from satisfice.core.errors import BadInput
from satisfice.core.problem import Problem
from satisfice.measure.promises import Bounded, Loss, fixed_sequence, problems_needed, upper_bound
from satisfice.measure.samples import ids_by_question, question_digest
from satisfice.recommend.tables import Table

LEAST_SAVING = 0.02  # of all tokens: below it a rule is not worth switching on


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is to be promised: at most `most` of the problems of every class lost, with confidence 1 - `doubt`."""

    most: float = 0.02
    doubt: float = 0.05
    loss: Loss = "lost"

    def __post_init__(self) -> None:
        for name, value in (("max-loss", self.most), ("1 - confidence", self.doubt)):
            if not 0 < value < 1:
                raise BadInput(f"{name} must lie between 0 and 1, got {value}.")

    @property
    def needed(self) -> int:
        """Problems of each class that the promise takes even if none is lost."""
        return problems_needed(self.most, self.doubt)

    def __str__(self) -> str:
        what = {
            "lost": "of the answers lost", "net": "net loss of accuracy", "changed": "of the answers changed",
            "wrong": "of the answers wrong",
        }[self.loss]  # fmt: skip
        return f"at most {self.most:.1%} {what}, with confidence {1 - self.doubt:.0%}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a search came to: the setting that may be used, and how it got there."""

    ladder: str
    setting: str | None  # None: nothing may be used
    tested: tuple[Bounded, ...]
    saving: float  # share of tokens saved by the setting on the problems of the promise; 0 without one


def is_for_choosing(problem: str) -> bool:
    """Return whether a problem is one of the third that rules are chosen on; by a hash of its id."""
    return zlib.crc32(f"recommend {problem}".encode()) % 3 == 0


def for_choosing(problems: Sequence[Problem]) -> NDArray[np.bool_]:
    """Return `[problems]`: which are to choose rules on; a question is on one side, in however many tasks it is."""
    ids = ids_by_question(problems)
    return np.array([is_for_choosing(ids[question_digest(problem.question)]) for problem in problems], dtype=bool)


def expected_saving(table: Table, goal: Goal, sizes: Sequence[int]) -> float:
    """Return what a ladder may be expected to save once it is tested on classes of these sizes.

    Goes down the ladder as the test will: a setting is expected to pass where its share of losses, one half more than
    was seen, would pass with that many problems. 0 when not even the first is.
    """
    best = 0.0
    savings = table.savings()
    for row, saving in zip(table.losses, savings, strict=True):
        for number, size in enumerate(sizes):
            part = row[table.classes == number]
            lost = max(float((part > 0).sum() - (part < 0).sum()) if goal.loss == "net" else (part > 0).sum(), 0.0)
            share = (lost + 0.5) / (part.size + 1)
            if upper_bound(round(share * size), size, goal.doubt) > goal.most:
                return best
        best = max(best, float(saving))
    return best


def choose(choosing: Mapping[str, Table], goal: Goal, sizes: Sequence[int]) -> dict[str, float]:
    """Return what each ladder is expected to save, the one to be tested first.

    Where none is expected to pass, the ladder is tested whose safest setting lost least, and of equals the one that
    saves most up to its first setting that lost more than is allowed.
    """
    expected = {name: expected_saving(table, goal, sizes) for name, table in choosing.items()}

    def rank(name: str) -> tuple[float, int, float, str]:
        table = choosing[name]
        lost = (table.losses > 0).mean(axis=1)
        within = np.logical_and.accumulate(lost <= goal.most)
        hope = float(table.savings()[within].max(initial=0.0))
        return -expected[name], int((table.losses[0] > 0).sum()), -hope, name

    return {name: expected[name] for name in sorted(choosing, key=rank)}


def certify(ladder: str, settings: Sequence[str], table: Table, goal: Goal) -> Choice:
    """Test the settings of a ladder, the safest first, on problems that had no part in choosing it."""
    tested = fixed_sequence(settings, table.losses, table.classes, most=goal.most, doubt=goal.doubt, loss=goal.loss)
    savings = table.savings()
    passed = [at for at, one in enumerate(tested) if one.passed and savings[at] >= LEAST_SAVING]
    best = max(passed, key=lambda at: savings[at], default=None)
    return Choice(
        ladder=ladder, setting=None if best is None else settings[best], tested=tuple(tested),
        saving=0.0 if best is None else float(savings[best]),
    )  # fmt: skip


def more_problems(lost: int, problems: int, goal: Goal) -> int | None:
    """Return how many problems of a class the promise would take at the share of losses seen; None: more never help.

    >>> more_problems(2, 150, Goal(most=0.02)), more_problems(9, 150, Goal(most=0.02))
    (1211, None)
    """
    share = lost / max(problems, 1)
    if share >= goal.most:
        return None
    low, high = problems, 10_000_000
    while low < high:
        middle = (low + high) // 2
        if upper_bound(round(share * middle), middle, goal.doubt) <= goal.most:
            high = middle
        else:
            low = middle + 1
    return low


def classes_of(tasks: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of classes, and the class of each problem from the name of its task."""
    names = list(dict.fromkeys(tasks))
    return names, np.array([names.index(task) for task in tasks], dtype=np.int64)
