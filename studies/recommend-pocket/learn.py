"""A rule of our own: the value of stopping, learned backward on recorded chains, against DEER and against an oracle.

The rule learns on the problems of the recommendation. Both ladders, DEER's thresholds and the prices of a token, get
their promise from the first half of the fresh problems, each ladder alone, and are held against each other on the rest.
Both write the trial answer down, so what they do follows from what the chains show at their cues. The oracle stops at
the first cue at which the trial answer is right, and pays for the trials up to there as the rules do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from satisfice.measure.promises import fixed_sequence
from satisfice.methods.stopping.artefact import Artefact
from satisfice.methods.stopping.deer import THRESHOLDS
from satisfice.methods.stopping.stop_value import DATES, PRICES, Trace, features, network_from

ARTEFACT = "stop-value.json"
MOST = (0.01, 0.02, 0.05)
DEER_LOOKS = 10  # cues that DEER looks at


@dataclass(frozen=True, kw_only=True, eq=False)
class Done:
    """What a setting does to some problems."""

    right: NDArray[np.bool_]  # [problems]
    spent: NDArray[np.int64]  # [problems] tokens


def learn(
    results: Path, traces: Mapping[str, Sequence[Trace]], tiers: Mapping[str, NDArray[Any]], weights: str
) -> dict[str, Any]:
    """Fit on the chains of `fit`, promise both ladders on `promise`, and return what they do to those of `report`."""
    network = network_from(traces["fit"])
    Artefact(
        rule="stop-value", network=network, arrays={"prices": np.array(PRICES, dtype=np.float32)}, weights=weights,
        about={"recording": "studies/recommend-pocket, recommend", "chains": len(traces["fit"])},
    ).save(results / ARTEFACT)  # fmt: skip
    gains = {
        part: [[network(features(trace.looks[: at + 1])) for at in range(len(trace.looks))] for trace in traces[part]]
        for part in tiers
    }
    ladders: dict[str, list[tuple[float, dict[str, Done]]]] = {"deer": [], "stop-value": []}
    for threshold in THRESHOLDS:
        at = {part: [deer(trace, threshold) for trace in traces[part]] for part in tiers}
        ladders["deer"].append((threshold, {part: done(traces[part], at[part], DEER_LOOKS) for part in tiers}))
    for number, price in enumerate(PRICES):
        at = {
            part: [ours(trace, gain, number) for trace, gain in zip(traces[part], gains[part], strict=True)]
            for part in tiers
        }
        ladders["stop-value"].append((price, {part: done(traces[part], at[part]) for part in tiers}))
    whole = {part: full(traces[part]) for part in tiers}
    best_hindsight = done(traces["report"], [first_right(trace) for trace in traces["report"]])
    found: dict[str, Any] = {
        "oracle": row(best_hindsight, whole["report"], tiers["report"]),
        "settings": [], "promised": [], "difference": [],
    }  # fmt: skip
    for name, rungs in ladders.items():
        for value, by in rungs:
            found["settings"].append(
                {"rule": name, "value": value, **row(by["report"], whole["report"], tiers["report"])}
            )
    for most in MOST:
        known = whole["promise"], tiers["promise"]
        best = {name: promised(rungs, *known, most) for name, rungs in ladders.items()}
        for name, rung in best.items():
            head = {"rule": name, "most": most, "value": None if rung is None else rung[0]}
            found["promised"].append(
                head | ({} if rung is None else row(rung[1]["report"], whole["report"], tiers["report"]))
            )
        one, two = best["deer"], best["stop-value"]
        if one is not None and two is not None:
            found["difference"].append(
                {"most": most, **difference(one[1]["report"], two[1]["report"], whole["report"])}
            )
    return found


def promised(
    rungs: Sequence[tuple[float, dict[str, Done]]], whole: Done, tier: NDArray[Any], most: float
) -> tuple[float, dict[str, Done]] | None:
    """Return the setting of a ladder that may be promised and saves most, on the problems of the promise."""
    table = np.array([whole.right.astype(int) - by["promise"].right.astype(int) for _, by in rungs])
    tested = fixed_sequence([str(value) for value, _ in rungs], table, tier, most=most, doubt=0.05)
    passed = [at for at, test in enumerate(tested) if test.passed]
    best = min(passed, key=lambda at: int(rungs[at][1]["promise"].spent.sum()), default=None)
    return None if best is None else rungs[best]


def deer(trace: Trace, threshold: float) -> int | None:
    """Return the look at which DEER stops; None where it does not."""
    for at, look in enumerate(trace.looks[:DEER_LOOKS]):
        if look.agreeing and float(np.exp(look.logprobs.astype(float)).mean()) > threshold:
            return at
    return None


def ours(trace: Trace, gains: Sequence[NDArray[Any]], number: int) -> int | None:
    """Return the look at which the learned rule stops at one of its prices."""
    for at, look in enumerate(trace.looks):
        if look.agreeing and gains[at][number * DATES + min(at, DATES - 1)] > 0:
            return at
    return None


def first_right(trace: Trace) -> int | None:
    """Return the first look at which the trial answer is right."""
    return next((at for at, right in enumerate(trace.right) if right), None)


def done(traces: Sequence[Trace], stops: Sequence[int | None], looks: int | None = None) -> Done:
    """What stopping at these looks does; a chain that goes on pays for `looks` trials at most."""
    right, spent = [], []
    for trace, at in zip(traces, stops, strict=True):
        right.append(trace.full if at is None else trace.right[at])
        spent.append(
            trace.spent + sum(trace.probes[:looks])
            if at is None
            else trace.looks[at].at + trace.held[at] + sum(trace.probes[: at + 1])
        )
    return Done(right=np.array(right, dtype=bool), spent=np.array(spent))


def full(traces: Sequence[Trace]) -> Done:
    """What the full chains do."""
    return Done(right=np.array([t.full for t in traces], dtype=bool), spent=np.array([t.spent for t in traces]))


def row(ours: Done, whole: Done, tier: NDArray[Any]) -> dict[str, Any]:
    """What a setting does, over all and tier by tier."""
    of = [tier == one for one in range(int(tier.max()) + 1)]
    return {
        "saving": float(1 - ours.spent.sum() / whole.spent.sum()),
        "savings": [float(1 - ours.spent[m].sum() / whole.spent[m].sum()) for m in of],
        "lost": [int((whole.right & ~ours.right)[m].sum()) for m in of],
        "gained": [int((ours.right & ~whole.right)[m].sum()) for m in of], "problems": [int(m.sum()) for m in of],
    }  # fmt: skip


def difference(deer: Done, ours: Done, whole: Done) -> dict[str, float]:
    """How much more our rule saves than DEER, as a share of the full chains' tokens, with its 95 % interval."""
    data = (deer.spent - ours.spent).astype(float), whole.spent.astype(float)
    got = bootstrap(
        data, lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis), paired=True, n_resamples=2_000, vectorized=True,
        rng=np.random.default_rng(0), method="percentile",
    )  # fmt: skip
    low, high = got.confidence_interval
    return {"more": float(data[0].sum() / data[1].sum()), "low": float(low), "high": float(high)}
