"""What several builders do: order chains, find where a chain could have ended, draw for one chain."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from satisfice.core.engine import random_key
from satisfice.core.problem import Verdict
from satisfice.core.trace import Look, Trace, by_problem

At = Literal["cue", "stated", "step", "any"]


class Ending(NamedTuple):
    """Where a chain could have ended: after so many tokens, with the answer of a look or its own last one (None)."""

    at: int
    look: Look | None
    verdict: Verdict


def ordered(traces: Iterable[Trace]) -> list[Trace]:
    """Return the chains in an order that does not depend on theirs."""
    return sorted(traces, key=lambda trace: trace.key)


def endings(trace: Trace, at: At = "cue") -> list[Ending]:
    """Return where a chain could have ended, with the verdict of its answer there; last where it did end.

    `cue`: where a solution ends, by what the model answered when it was told to stop there. `stated`: at the same
    places, by the answer that the thinking itself had stated last; the chain's own answer then follows. `step`: after a
    step; `any`: at every look. A look at the very start says nothing of the chain, and one whose answer was cut off has
    no answer to train on.
    """
    last = Ending(trace.thinking, None, trace.verdict)
    if at == "cue":
        return [*(Ending(one.end, one.look, one.verdict) for one in trace.solutions[:-1]), last]
    if at == "stated":
        found = []
        for one in trace.solutions[:-1]:
            said = [verdict for place, verdict in trace.stated if place <= one.end]
            found.append(Ending(one.end, None, said[-1] if said else Verdict.UNKNOWN))
        return [*found, last]
    looks = [look for look in trace.looks if 0 < look.at < trace.thinking and look.complete]
    if at == "step":
        looks = [look for look in looks if "step" in look.why]
    return [*(Ending(look.at, look, look.verdict) for look in looks), last]


def shortest_right(traces: Sequence[Trace]) -> list[Trace]:
    """Return the shortest right chain of each problem."""
    groups = ([trace for trace in group if trace.right] for group in by_problem(traces))
    return [min(group, key=lambda trace: (len(trace.ids), trace.key)) for group in groups if group]


def draws(seed: int, trace: Trace) -> np.random.Generator:
    """Return random numbers that belong to one chain, whatever else is drawn."""
    return np.random.default_rng(random_key(seed, repr(trace.key), "builder"))
