"""What several builders do: order chains, find where a chain could have ended, draw for one chain."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from satisfice.core.engine import random_key
from satisfice.core.problem import Verdict
from satisfice.core.trace import Look, Trace, by_problem

At = Literal["cue", "step", "any"]


def ordered(traces: Iterable[Trace]) -> list[Trace]:
    """Return the chains in an order that does not depend on theirs."""
    return sorted(traces, key=lambda trace: trace.key)


def endings(trace: Trace, at: At = "cue") -> list[tuple[Look | None, Verdict]]:
    """Return where a chain could have ended, with the verdict of its answer there: its looks, then itself (None).

    `cue`: where a solution ends; `step`: after a step; `any`: at every look. A look at the very start says nothing of
    the chain, and one whose answer was cut off has no answer to train on.
    """
    if at == "cue":
        return [(solution.look, solution.verdict) for solution in trace.solutions]
    looks = [look for look in trace.looks if 0 < look.at < trace.thinking and look.complete]
    if at == "step":
        looks = [look for look in looks if "step" in look.why]
    return [*((look, look.verdict) for look in looks), (None, trace.verdict)]


def shortest_right(traces: Sequence[Trace]) -> list[Trace]:
    """Return the shortest right chain of each problem."""
    groups = ([trace for trace in group if trace.right] for group in by_problem(traces))
    return [min(group, key=lambda trace: (len(trace.ids), trace.key)) for group in groups if group]


def draws(seed: int, trace: Trace) -> np.random.Generator:
    """Return random numbers that belong to one chain, whatever else is drawn."""
    return np.random.default_rng(random_key(seed, repr(trace.key), "builder"))
