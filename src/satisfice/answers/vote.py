"""Merge the answers of several chains into one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from satisfice.answers.math import same as mathematically_same


@dataclass(frozen=True, kw_only=True)
class Vote:
    """How a vote went. `voters` are the positions of the answers that agree with the winner, in order."""

    answer: str | None  # as its first voter wrote it; None when nobody voted
    share: float  # of those who voted, in [0, 1]
    tie: bool  # another answer had as many votes
    voters: tuple[int, ...]
    parsed: int  # how many voted


def majority(answers: Sequence[str | None], *, same: Callable[[str, str], bool] = mathematically_same) -> Vote:
    """Take the answer that most chains agree on; on a tie the one seen first.

    Answers in different notation are merged before counting: each joins the first earlier answer it is the `same` as.
    None and empty answers do not vote, and never agree with one another.

    >>> majority(["12", "12", "7", None, "7", "12"])
    Vote(answer='12', share=0.6, tie=False, voters=(0, 1, 5), parsed=5)
    """
    groups: list[list[int]] = []
    representatives: list[str] = []
    for position, answer in enumerate(answers):
        if answer is None or not answer.strip():
            continue
        for group, representative in zip(groups, representatives, strict=True):
            if same(representative, answer):
                group.append(position)
                break
        else:
            groups.append([position])
            representatives.append(answer)
    if not groups:
        return Vote(answer=None, share=0.0, tie=False, voters=(), parsed=0)
    most = max(len(group) for group in groups)
    leading = [index for index, group in enumerate(groups) if len(group) == most]
    parsed = sum(len(group) for group in groups)
    return Vote(
        answer=representatives[leading[0]],
        share=most / parsed,
        tie=len(leading) > 1,
        voters=tuple(groups[leading[0]]),
        parsed=parsed,
    )
