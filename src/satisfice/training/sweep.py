"""A merge at several strengths, measured: which of them may be promised to lose no more than so much."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from satisfice.core.errors import BadInput
from satisfice.core.merge import Merge
from satisfice.measure.promises import Bounded, fixed_sequence


def strengths(text: str, points: int) -> list[float]:
    """Return the strengths of a sweep: evenly spaced from `LOW:HIGH`, or as listed, `0.3,0.5,0.9`.

    >>> strengths("0.3:0.9", 4), strengths("0.5,1", 4)
    ([0.3, 0.5, 0.7, 0.9], [0.5, 1.0])
    """
    try:
        if ":" in text:
            low, high = map(float, text.split(":"))
            found = [round(float(x), 4) for x in np.linspace(low, high, points)]
        else:
            found = [float(part) for part in text.split(",")]
    except ValueError:
        raise BadInput(f"sweep must be LOW:HIGH or numbers with commas, such as 0.3:0.9, got {text!r}.") from None
    if sorted(set(found)) != found or not np.isfinite(found).all():
        raise BadInput(f"sweep must rise from the base's side to the other's, such as 0.3:0.9, got {text!r}.")
    return found


def at_strength(merge: Merge, strength: float) -> Merge:
    """Return a merge with another strength."""
    return dataclasses.replace(merge, **{merge.strength: strength})  # type: ignore[type-var]


def promised(
    samples: Iterable[Mapping[str, Any]], base: str, points: Sequence[str], *, most: float, doubt: float = 0.05
) -> list[Bounded]:
    """Test merged models in the order of their strength, the nearest to the base first, up to the first that fails.

    A model passes when, with confidence 1 - `doubt`, its accuracy on every task is at most `most` below the base's on
    the same problems (net: problems lost less problems gained). The order is fixed before anything is measured, so
    there is nothing to correct for how many there are. An unknown verdict counts as not right.
    """
    right: dict[str, dict[tuple[str, str, int], bool]] = {}
    for row in samples:
        right.setdefault(row["model"], {})[row["task"], row["problem"], row["seed"]] = row["verdict"] == "right"
    keys = sorted(set.intersection(*(set(right.get(name, {})) for name in (base, *points))))
    if not keys:
        raise BadInput("sweep: the models have no problem in common that all of them answered.")
    tasks = sorted({task for task, _, _ in keys})
    losses = [[int(right[base][key]) - int(right[point][key]) for key in keys] for point in points]
    classes = [tasks.index(task) for task, _, _ in keys]
    return fixed_sequence(points, losses, classes, most=most, doubt=doubt, loss="net")


def on_frontier(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the models of which none else is both shorter and better, over all tasks, by mean tokens and accuracy."""
    names = list(dict.fromkeys(row["model"] for row in rows))

    def mean(name: str, field: str) -> float:
        return float(np.mean([row[field] for row in rows if row["model"] == name]))

    means = {name: (mean(name, "spent"), mean(name, "accuracy")) for name in names}
    return [
        name
        for name, (spent, right) in means.items()
        if not any(s <= spent and r >= right and (s, r) != (spent, right) for s, r in means.values())
    ]
