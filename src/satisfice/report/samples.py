"""What the report needs to know about each sample, and where rules stopped against where the answer stood."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from satisfice.measure.statistics import gain_at_equal_spending

FULL = "full"
"""The policy that everything is compared with: no rule."""

Key = tuple[str, str, int]
"""Task, problem and seed: what makes two samples of different policies a pair."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One sample without its text."""

    policy: str
    task: str
    problem: str
    seed: int
    verdict: str  # right, wrong, unknown
    answered: bool
    failed: bool
    truncated: bool
    spent: int  # tokens
    thinking: int  # tokens of thinking on the returned chain
    first_right: int | None  # tokens of thinking up to the first stated right answer on the returned chain

    @property
    def key(self) -> Key:
        """What this sample shares with the same problem under other policies."""
        return self.task, self.problem, self.seed


def read_outcome(sample: Mapping[str, Any]) -> Outcome:
    """The short form of a row of `samples.jsonl`."""
    return Outcome(
        policy=sample["policy"], task=sample["task"], problem=sample["problem"], seed=sample["seed"],
        verdict=sample["verdict"], answered=sample["answer"] is not None, failed=bool(sample["error"]),
        truncated=sample["truncated"], spent=sample["spent"], thinking=sample["thinking_tokens"],
        first_right=sample["first_right"],
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stops:
    """Where one policy stopped thinking on one task, next to the unstopped chains of the same problems and seeds."""

    policy: str
    pairs: int
    thinking: tuple[int, ...]  # tokens, ascending: where the policy stopped
    full: tuple[int, ...]  # tokens, ascending: where thinking ended without a rule
    first_right: tuple[int, ...]  # tokens, ascending: only chains in which a right answer is stated at all
    too_soon: float  # fraction of those chains: stopped before the right answer stood
    after: float | None  # tokens, median over the others: thinking that went on after the right answer
    never: float  # fraction of pairs: the unstopped chain never states a right answer


def compare_stops(outcomes: Iterable[Outcome], task: str, policies: Sequence[str]) -> list[Stops]:
    """How far each policy let the model think, against where the first right answer stood without a rule.

    With the same problem and seed a rule that only looks follows the unstopped chain token for token up to its stop,
    so positions in the two chains can be compared.
    """
    here = [outcome for outcome in outcomes if outcome.task == task and not outcome.failed]
    full = {outcome.key: outcome for outcome in here if outcome.policy == FULL}
    found = []
    for policy in policies:
        pairs = [(one, full[one.key]) for one in here if one.policy == policy and one.key in full]
        if not pairs:
            continue
        stated = [(one.thinking, base.first_right) for one, base in pairs if base.first_right is not None]
        after = [thinking - first for thinking, first in stated if thinking >= first]
        found.append(
            Stops(
                policy=policy,
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


def gains_over_caps(outcomes: Iterable[Outcome], task: str, policies: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How much more accurate each policy is than the caps at the tokens that it spends itself, by policy.

    The caps' line runs through the caps and `full`; without a cap in the run there is none. `gain` and its interval are
    fractions, None where a policy spends less or more than any point of the line.
    """
    cells: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}
    for one in outcomes:
        if one.task == task:
            cells.setdefault(one.policy, {})[one.problem, one.seed] = {"spent": one.spent, "verdict": one.verdict}
    line = [cells[policy] for policy in policies if policy in cells and (is_cap(policy) or policy == FULL)]
    if not any(is_cap(policy) for policy in cells):
        return {}
    rules = [policy for policy in policies if policy in cells and not is_cap(policy) and policy != FULL]
    return {policy: gain_at_equal_spending(cells[policy], line) for policy in rules}


def is_baseline(policy: str) -> bool:
    """Whether a policy stands in the table as a plain baseline: no rule, a fixed cap, stop at the first cue."""
    return policy.partition("(")[0] in (FULL, "fixed-budget", "first-cue")


def is_cap(policy: str) -> bool:
    """Whether a policy is the fixed cap at some setting."""
    return policy.partition("(")[0] == "fixed-budget"


def cumulate(values: Sequence[int], total: int, points: int = 120) -> list[tuple[int, float]]:
    """The steps of a cumulative share: (value, fraction of `total` at or below it), thinned to about `points`.

    >>> cumulate([3, 5, 5], 4)
    [(0, 0.0), (3, 0.25), (5, 0.75)]
    """
    places, counts = np.unique(np.asarray(values, dtype=np.int64), return_counts=True)
    shares = np.cumsum(counts) / max(total, 1)
    if not len(places):
        return [(0, 0.0)]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(points, len(places))).astype(int))
    return [(0, 0.0), *((int(places[i]), float(shares[i])) for i in chosen)]
