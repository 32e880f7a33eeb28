"""What the study of training for length compares: two measurements, problem by problem, over problems and seeds."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Cells = dict[tuple[str, str], dict[str, tuple[float, float]]]
"""(task, policy) -> problem -> (1 where it was right and else 0, tokens spent)."""
TOGETHER = "both tiers trained on"


def two_way(before: Any, after: Any, draws: int = 4000) -> dict[str, float]:
    """Differences with 95 % intervals: problems and seeds are both drawn again, problems the same for all seeds."""
    rng = np.random.default_rng(0)
    # How often each problem and each seed is drawn, as its share: [draws, problems] and [draws, seeds].
    problems, seeds = (rng.multinomial(n, np.full(n, 1 / n), draws) / n for n in (len(before), len(after)))
    one, other = problems @ before, np.einsum("ds,sdk->dk", seeds, problems @ after)  # [draws, 2] each
    gaps, savings = other[:, 0] - one[:, 0], 1 - other[:, 1] / one[:, 1]
    found = {
        "delta_accuracy": after[:, :, 0].mean() - before[:, 0].mean(),
        "saving": 1 - after[:, :, 1].mean() / before[:, 1].mean(),
    }
    for name, values in (("delta_accuracy", gaps), ("saving", savings)):
        found[f"{name}_low"], found[f"{name}_high"] = np.quantile(values, (0.025, 0.975))
    return {name: float(value) for name, value in found.items()}


def rank(row: Mapping[str, float], allowed: float) -> tuple[bool, float]:
    """Sort key: first what loses at most so much on either tier, by what it saves; then the rest, by what it loses."""
    lost = max(-value for key, value in row.items() if key.endswith("accuracy"))
    saved = float(np.mean([value for key, value in row.items() if key.endswith("saving")]))
    return (lost > allowed, lost if lost > allowed else -saved)


def with_both(cells: Cells, tiers: Iterable[str]) -> Cells:
    """The same with the tiers that were trained on as one task more: every problem counts the same."""
    found = dict(cells)
    for (task, policy), cell in cells.items():
        if task.partition("@")[0] in tiers:
            both = found.setdefault((TOGETHER, policy), {})
            found[TOGETHER, policy] = both | {f"{task} {problem}": value for problem, value in cell.items()}
    return found


def paired(base: Mapping[str, tuple[float, float]], mine: Mapping[str, tuple[float, float]]) -> tuple[Any, Any]:
    """The problems that both have, [n, 2] each."""
    both = sorted(base.keys() & mine.keys())
    return np.array([base[p] for p in both]), np.array([mine[p] for p in both])
