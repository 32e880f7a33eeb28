"""How a policy that may decline to answer does: on problems with an answer, and on problems without one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from satisfice.core.errors import BadInput

Outcome = Literal["right", "wrong", "abstained"]
"""What became of a problem. No answer that can be read, a budget that ran out and a policy that declines all abstain;
an answer to a problem that has none is wrong."""


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """The confusion matrix of answerable and unanswerable problems, and what is read off it (AUCM, arXiv:2407.16221).

    >>> found = Abstention(right=55, wrong=15, missed=10, declined=12, invented=8)
    >>> [round(x, 4) for x in (found.answerable_accuracy, found.unanswerable_accuracy, found.rate, found.precision)]
    [0.6875, 0.6, 0.22, 0.7051]
    """

    right: int  # answerable, answered rightly
    wrong: int  # answerable, answered wrongly
    missed: int  # answerable, abstained
    declined: int = 0  # unanswerable, abstained
    invented: int = 0  # unanswerable, answered

    def __post_init__(self) -> None:
        for name in ("right", "wrong", "missed", "declined", "invented"):
            if getattr(self, name) < 0:
                raise BadInput(f"Abstention: {name} must be at least 0, got {getattr(self, name)}.")

    @property
    def answerable_accuracy(self) -> float:
        """AAC: right answers over answerable problems. Report it together with `rate`, which buys it."""
        return _share(self.right, self.right + self.wrong + self.missed)

    @property
    def unanswerable_accuracy(self) -> float:
        """UAC: abstentions over unanswerable problems."""
        return _share(self.declined, self.declined + self.invented)

    @property
    def rate(self) -> float:
        """AR: abstentions over all problems; where all are answerable, the loss of coverage."""
        whole = self.right + self.wrong + self.missed + self.declined + self.invented
        return _share(self.missed + self.declined, whole)

    @property
    def precision(self) -> float:
        """Right answers over all answers; where all problems are answerable, the selective accuracy."""
        return _share(self.right, self.right + self.wrong + self.invented)


def abstention(outcomes: Sequence[Outcome], answerable: Sequence[bool] | None = None) -> Abstention:
    """Count outcomes; without `answerable` all problems are.

    >>> abstention(["right", "abstained", "wrong", "abstained"], [True, True, False, False])
    Abstention(right=1, wrong=0, missed=1, declined=1, invented=1)
    """
    possible = [True] * len(outcomes) if answerable is None else list(answerable)
    if len(possible) != len(outcomes):
        raise BadInput(f"abstention: {len(outcomes)} outcomes and {len(possible)} problems. Give one for each.")
    with_answer = [outcome for outcome, yes in zip(outcomes, possible, strict=True) if yes]
    without = [outcome for outcome, yes in zip(outcomes, possible, strict=True) if not yes]
    if "right" in without:
        raise BadInput("abstention: a problem without an answer cannot be answered rightly. Call its outcome wrong.")
    return Abstention(
        right=with_answer.count("right"), wrong=with_answer.count("wrong"), missed=with_answer.count("abstained"),
        declined=without.count("abstained"), invented=without.count("wrong"),
    )  # fmt: skip


def _share(part: int, whole: int) -> float:
    """Return a fraction; nothing of nothing is not a number."""
    return part / whole if whole else float("nan")
