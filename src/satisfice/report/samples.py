"""What the report needs to know about each sample, and where rules stopped against where the answer stood."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from satisfice.measure.statistics import CAP, FIRST_CUE, id_of
from satisfice.measure.subject import BASELINE, Subject, subject_of

FULL = BASELINE
"""The policy that never interferes."""

Row = Mapping[str, Any]
"""A row of `results.json`."""

ProblemKey = tuple[str, str, int]
"""Task, problem and seed: what makes two samples of different policies a pair."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One sample without its text."""

    subject: Subject
    task: str
    problem: str
    seed: int
    verdict: str  # right, wrong, unknown, error
    answered: bool
    failed: bool
    truncated: bool
    spent: int  # tokens
    thinking: int  # tokens of thinking on the returned chain
    first_right: int | None  # tokens of thinking up to the first stated right answer on the returned chain

    @property
    def key(self) -> ProblemKey:
        """What this sample shares with the same problem under other policies."""
        return self.task, self.problem, self.seed

    @property
    def full(self) -> tuple[Subject, ProblemKey]:
        """The sample of the same model on the same problem that nothing stopped."""
        return self.subject.under(FULL), self.key


def read_outcome(sample: Mapping[str, Any]) -> Outcome:
    """Return the short form of a row of `samples.jsonl`."""
    return Outcome(
        subject=subject_of(sample), task=sample["task"], problem=sample["problem"], seed=sample["seed"],
        verdict=sample["verdict"], answered=sample["answer"] is not None,
        failed=bool(sample["error"]), truncated=sample["truncated"], spent=sample["spent"],
        thinking=sample["thinking_tokens"], first_right=sample["first_right"],
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stops:
    """Where one subject stopped thinking on one task, next to its model's unstopped chains on the same problems."""

    subject: Subject
    pairs: int
    thinking: tuple[int, ...]  # tokens, ascending: where the policy stopped
    full: tuple[int, ...]  # tokens, ascending: where thinking ended without a rule
    first_right: tuple[int, ...]  # tokens, ascending: only chains in which a right answer is stated at all
    too_soon: float  # fraction of those chains: stopped before the right answer stood
    after: float | None  # tokens, median over the others: thinking that went on after the right answer
    never: float  # fraction of pairs: the unstopped chain never states a right answer


def compare_stops(outcomes: Iterable[Outcome], task: str, subjects: Sequence[Subject]) -> list[Stops]:
    """How far each subject's policy let its model think, against where the first right answer stood without a rule.

    With the same problem and seed a rule that only looks follows the unstopped chain token for token up to its stop,
    so positions in the two chains can be compared.
    """
    here = [outcome for outcome in outcomes if outcome.task == task and not outcome.failed]
    full = {outcome.full: outcome for outcome in here if outcome.subject.policy == FULL}
    found = []
    for subject in subjects:
        pairs = [(one, full[one.full]) for one in here if one.subject == subject and one.full in full]
        if not pairs:
            continue
        stated = [(one.thinking, base.first_right) for one, base in pairs if base.first_right is not None]
        after = [thinking - first for thinking, first in stated if thinking >= first]
        found.append(
            Stops(
                subject=subject,
                pairs=len(pairs),
                thinking=tuple(sorted(one.thinking for one, _ in pairs)),
                full=tuple(sorted(base.thinking for _, base in pairs)),
                first_right=tuple(sorted(first for _, first in stated)),
                too_soon=1 - len(after) / len(stated) if stated else 0.0,
                after=float(np.median(after)) if after else None,
                never=1 - len(stated) / len(pairs),
            )
        )
    return found


def is_baseline(policy: str) -> bool:
    """Return whether a policy stands in the table as a plain baseline: no rule, a fixed cap, stop at the first cue."""
    return id_of(policy) in (FULL, CAP, FIRST_CUE)


def is_cap(policy: str) -> bool:
    """Return whether a policy is the fixed cap at some setting."""
    return id_of(policy) == CAP


def cumulate(values: Sequence[int], total: int, points: int = 120) -> list[tuple[int, float]]:
    """Return the steps of a cumulative share: (value, fraction of `total` at or below it), thinned to about `points`.

    >>> cumulate([3, 5, 5], 4)
    [(0, 0.0), (3, 0.25), (5, 0.75)]
    """
    places, counts = np.unique(np.asarray(values, dtype=np.int64), return_counts=True)
    shares = np.cumsum(counts) / max(total, 1)
    if not len(places):
        return [(0, 0.0)]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(points, len(places))).astype(int))
    return [(0, 0.0), *((int(places[i]), float(shares[i])) for i in chosen)]
