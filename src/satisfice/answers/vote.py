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

    Answers in different notation are merged before counting: those that are the `same`, and those that a third answer
    is the `same` as. So the groups do not depend on the order of the answers, though `same` be no equivalence.
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
    """Return the positions of equal answers, in the order in which they were first seen; empty ones are in no group.

    >>> tally(["12", None, "7", "12"])
    [(0, 3), (2,)]
    """
    groups: list[list[int]] = []
    spellings: dict[str, list[int]] = {}  # the group of each text
    for position, answer in enumerate(answers):
        if answer is None or not (text := answer.strip()):
            continue
        if text not in spellings:
            agreeing = [
                group
                for group in groups
                if any(same(answers[other] or "", answer) for other in _unlike(group, answers))
            ]
            joined = sorted(place for group in agreeing for place in group)
            groups = [group for group in groups if group not in agreeing] + [joined]
            spellings |= {(answers[other] or "").strip(): joined for other in joined} | {text: joined}
        spellings[text].append(position)
    return sorted(tuple(group) for group in groups)


def _unlike(group: Sequence[int], answers: Sequence[str | None]) -> list[int]:
    """Return the first position of each text in a group."""
    return list({answers[position]: position for position in reversed(group)}.values())[::-1]
