"""Comparing filters fairly, and choosing their parameters: how much of what is right they keep, at equal risk.

A corpus tells which tokens may follow a prefix; a model ranks all tokens there. Let `k*` be the smallest number of
top-ranked tokens that holds every token which the corpus continues with. A filter is then measured on the prefix by

    recall = (tokens kept among the first k*) / k*,    risk = (tokens kept beyond the first k*) / k*

For filters that keep the k likeliest this is min(1, k / k*) and max(0, k / k* - 1), as in "Balancing Diversity and Risk
in LLM Sampling" (ACL 2025); counting the tokens themselves extends it to filters that keep no prefix of the order.
Two filters are compared at parameters at which their mean risk over the prefixes is the same, never otherwise.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.errors import BadInput
from satisfice.methods.sampling.epsilon import Epsilon
from satisfice.methods.sampling.eta import Eta
from satisfice.methods.sampling.filter import Filter
from satisfice.methods.sampling.min_p import MinP
from satisfice.methods.sampling.top_h import TopH
from satisfice.methods.sampling.top_k import TopK
from satisfice.methods.sampling.top_n_sigma import TopNSigma
from satisfice.methods.sampling.top_p import TopP
from satisfice.methods.sampling.typical import Typical

Tree = Mapping[tuple[int, ...], frozenset[int]]
"""For each prefix of a corpus the tokens that follow it somewhere."""

_SHARES = (*np.geomspace(1e-4, 0.5, 200), *(1 - np.geomspace(0.495, 1e-6, 300)))  # fine at both ends
_FLOORS = tuple(np.geomspace(0.999, 1e-9, 400))
GRIDS: Mapping[str, tuple[Filter, str, Sequence[float]]] = {
    "epsilon": (Epsilon(), "epsilon", _FLOORS),
    "eta": (Eta(), "epsilon", _FLOORS),
    "min-p": (MinP(), "p", _FLOORS),
    "top-h": (TopH(), "alpha", _SHARES),
    "top-k": (TopK(), "k", range(1, 513)),
    "top-n-sigma": (TopNSigma(), "n", tuple(np.linspace(0, 12, 481))),
    "top-p": (TopP(), "p", _SHARES),
    "typical": (Typical(), "tau", _SHARES),
}
"""For each filter its parameter and the values that are tried, in the order in which it keeps more."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A filter with one parameter, measured over the prefixes of a corpus."""

    method: Filter
    value: float
    recall: float  # mean over prefixes: how much of what may follow it keeps
    risk: float  # mean over prefixes: how much else it keeps, in units of k*
    stability: float  # standard error of the risk; lower is steadier
    kept: float  # mean number of tokens
    n: int  # prefixes


def prefix_tree(
    sequences: Iterable[Sequence[int]], *, least: int = 2, visits: int = 1, start: int | Sequence[int] = 0
) -> Tree:
    """Return the prefixes of a corpus that at least `least` different tokens follow, with these tokens.

    `sequences` are token ids; prefixes shorter than `start` tokens, one number for all or one for each, are left out
    (they are the prompt). The first tokens of all sequences, too, count as following the empty prefix. Where the corpus
    is written by a program, and says often enough what may follow, take `least=1` and a number of `visits`: then a
    place where only one token is right counts too, and what is risked there is a mistake.

    >>> tree = prefix_tree([[1, 2, 3], [1, 2, 4], [1, 5]])
    >>> {prefix: sorted(follows) for prefix, follows in tree.items()}
    {(1,): [2, 5], (1, 2): [3, 4]}
    """
    follows: dict[tuple[int, ...], dict[int, int]] = {}
    every = list(sequences)
    starts = [start] * len(every) if isinstance(start, int) else start
    if len(starts) != len(every):
        raise BadInput(f"diversity-risk: {len(starts)} starts for {len(every)} sequences. Give one for each.")
    for sequence, begin in zip(every, starts, strict=True):
        ids = tuple(sequence)
        for at in range(begin, len(ids)):
            seen = follows.setdefault(ids[:at], {})
            seen[ids[at]] = seen.get(ids[at], 0) + 1
    return {
        prefix: frozenset(seen)
        for prefix, seen in follows.items()
        if len(seen) >= least and sum(seen.values()) >= visits
    }


def tokens_needed(logits: ArrayLike, follows: Sequence[Iterable[int]]) -> NDArray[np.int64]:
    """`k*` of each prefix: how many top-ranked tokens hold all that may follow, `[n]`; `logits` `[n, vocab]`.

    Of tokens with equal scores the one with the lower id ranks first.
    """
    ranks = _ranks(np.asarray(logits, dtype=np.float32))
    if len(ranks) != len(follows):
        raise BadInput(f"diversity-risk: {len(ranks)} rows of logits for {len(follows)} prefixes. Give one for each.")
    return np.array([1 + max(int(row[token]) for token in good) for row, good in zip(ranks, follows, strict=True)])


def recall_and_risk(
    keep: ArrayLike, logits: ArrayLike, needed: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and risk of each prefix, `[n]` each, from what a filter keeps `[n, vocab]` and `k*` `[n]`.

    >>> z = -np.arange(8.0)[None]
    >>> [tuple(float(x[0]) for x in recall_and_risk(z > -k, z, [5])) for k in (2, 5, 6)]
    [(0.4, 0.0), (1.0, 0.0), (1.0, 0.2)]
    """
    most = np.asarray(needed)
    return _recall_and_risk(keep, _ranks(np.asarray(logits, dtype=np.float32)) < most[:, None], most)


def _recall_and_risk(
    keep: ArrayLike, good: NDArray[np.bool_], most: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    kept = np.asarray(keep, dtype=bool)
    found = (kept & good).sum(axis=1)
    return found / most, (np.maximum(kept.sum(axis=1), 1) - found) / most


def measure(method: Filter, value: float, logits: Any, needed: ArrayLike) -> Point:
    """Measure a filter over all prefixes; `logits` `[n, vocab]` of numpy or torch."""
    most = np.asarray(needed)
    return _measure(method, value, logits, _ranks(np.asarray(logits, dtype=np.float32)) < most[:, None], most)


def _measure(method: Filter, value: float, logits: Any, good: NDArray[np.bool_], most: NDArray[Any]) -> Point:
    keep = np.asarray(method.keep(logits))
    recall, risk = _recall_and_risk(keep, good, most)
    return Point(
        method=method, value=value, recall=float(recall.mean()), risk=float(risk.mean()),
        stability=float(risk.std() / np.sqrt(len(risk))), kept=float(keep.sum(axis=1).mean()), n=len(risk),
    )  # fmt: skip


def at_risk(name: str, target: float, logits: Any, needed: ArrayLike) -> Point:
    """Return the parameter of a filter whose mean risk is closest to `target`, with what it gives there.

    Risk grows along the grid of `GRIDS`, so that a binary search finds it.

    Raises:
        BadInput: no such filter, or one without a grid; a negative target.
    """
    if name not in GRIDS:
        raise BadInput(f"diversity-risk: {name!r} has no grid of parameters. Known: {', '.join(sorted(GRIDS))}.")
    if not target >= 0:
        raise BadInput(f"diversity-risk: the risk to compare at must be 0 or more, got {target}.")
    base, field, grid = GRIDS[name]
    most = np.asarray(needed)
    good = _ranks(np.asarray(logits, dtype=np.float32)) < most[:, None]

    def point(i: int) -> Point:
        value = grid[i] if isinstance(grid[i], int) else float(grid[i])
        return _measure(replace(base, **{field: value}), float(value), logits, good, most)  # type: ignore[type-var]

    low, high = 0, len(grid) - 1  # the last place below the target, the first not below it
    ends = {low: point(low), high: point(high)}
    while high - low > 1:
        middle = (low + high) // 2
        ends[middle] = point(middle)
        if ends[middle].risk < target:
            low = middle
        else:
            high = middle
    return min((ends[low], ends[high]), key=lambda found: abs(found.risk - target))


def compare(
    logits: Any,
    follows: Sequence[Iterable[int]],
    risks: Sequence[float] = (1.0, 5.0, 15.0),
    names: Iterable[str] = tuple(GRIDS),
    *,
    tolerance: Callable[[float], float] = lambda risk: 0.1 * risk,
) -> dict[float, list[Point]]:
    """For each risk the filters at it, the one of highest recall first.

    A filter that cannot come within `tolerance` of a risk (it steps over it, or never keeps so much) is left out there:
    filters at different risks are not comparable.
    """  # fmt: skip
    needed = tokens_needed(np.asarray(logits), follows)
    found = {risk: [at_risk(name, risk, logits, needed) for name in names] for risk in risks}
    return {
        risk: sorted((p for p in points if abs(p.risk - risk) <= tolerance(risk)), key=lambda p: -p.recall)
        for risk, points in found.items()
    }


def _ranks(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    order = np.argsort(-logits, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(logits.shape[1])[None].repeat(len(logits), 0), axis=1)
    return ranks
