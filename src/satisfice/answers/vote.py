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


def majority(
    answers: Sequence[str | None],
    *,
    same: Callable[[str, str], bool] = mathematically_same,
    weights: Sequence[float] | None = None,
) -> Vote:
    """Take the answer that most chains agree on; on a tie the one seen first.

    Answers in different notation are merged before counting: each joins the first earlier answer it is the `same` as.
    None and empty answers do not vote, and never agree with one another. `weights` are votes of each, 1 by default.

    >>> majority(["12", "12", "7", None, "7", "12"])
    Vote(answer='12', share=0.6, tie=False, voters=(0, 1, 5), parsed=5)
    >>> majority(["12", "7"], weights=[0.5, 1.5])
    Vote(answer='7', share=0.75, tie=False, voters=(1,), parsed=2)
    """
    groups = tally(answers, same=same)
    if not groups:
        return Vote(answer=None, share=0.0, tie=False, voters=(), parsed=0)
    votes = [float(sum(1.0 if weights is None else weights[i] for i in group)) for group in groups]
    most, total = max(votes), sum(votes)
    leading = [group for group, vote in zip(groups, votes, strict=True) if vote == most]
    return Vote(
        answer=answers[leading[0][0]],
        share=most / total if total else 0.0,
        tie=len(leading) > 1,
        voters=leading[0],
        parsed=sum(map(len, groups)),
    )


def tally(
    answers: Sequence[str | None], *, same: Callable[[str, str], bool] = mathematically_same
) -> list[tuple[int, ...]]:
    """Positions of equal answers, in the order in which the answers were first seen; None and empty ones are in none.

    >>> tally(["12", None, "7", "12"])
    [(0, 3), (2,)]
    """
    groups: list[list[int]] = []
    for position, answer in enumerate(answers):
        if answer is None or not answer.strip():
            continue
        for group in groups:
            if same(answers[group[0]] or "", answer):
                group.append(position)
                break
        else:
            groups.append([position])
    return [tuple(group) for group in groups]
