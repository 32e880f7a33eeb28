"""Put today's bounds into results that were measured under earlier ones: `python studies/library/bounds.py FILE ...`.

No model and no samples are needed where each question has one pair. The difference of accuracies and McNemar's p tell
how many questions were gained and how many lost, and these two counts are all that the exact interval is made of. What
cannot be made again so (savings, whose interval has not changed, and gains over other rules) stays. Rows whose p is too
small for a floating-point number keep their interval; such a rule is worse by any bound.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from satisfice.measure.intervals import bounded_mean
from satisfice.measure.statistics import LEAST_SAVING, MARGIN, mcnemar_p, verdict

ROUNDED = 6e-5  # of what some files keep in four digits


def counts(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return how many questions a row's rule gained and lost; None where more than one pair of counts would do.

    >>> counts({"n": 500, "delta_accuracy": 0.02, "mcnemar_p": mcnemar_p(18, 8), "delta_accuracy_low": 0.0,
    ...         "delta_accuracy_high": 0.04})
    (18, 8)
    """
    difference = round(row["delta_accuracy"] * row["n"])
    if abs(difference / row["n"] - row["delta_accuracy"]) > ROUNDED:
        return None
    found = [
        (gained, gained - difference)
        for gained in range(max(difference, 0), (row["n"] + difference) // 2 + 1)
        if np.isclose(mcnemar_p(gained, gained - difference), row["mcnemar_p"], rtol=1e-3, atol=0)
    ]
    if row["delta_accuracy_high"] <= 0:  # no resample had a gain
        found = [split for split in found if split[0] == 0]
    if row["delta_accuracy_low"] >= 0:
        found = [split for split in found if split[1] == 0]
    return found[0] if len(found) == 1 else None


def bounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the bounds and the verdict of today; unchanged where the counts cannot be told."""
    found, n = dict(row), int(row["n"])
    right = round(row["accuracy"] * n)
    if abs(right / n - row["accuracy"]) <= ROUNDED:
        share = bounded_mean(np.repeat([1.0, 0.0], [right, n - right]), np.ones(n), 0, 1)
        found |= {"accuracy_low": share.low, "accuracy_high": share.high}
    if row.get("delta_accuracy") is None or row.get("mcnemar_p") is None or row["verdict"] == "baseline":
        return found
    if (split := counts(row)) is not None:
        values = np.repeat([1.0, -1.0, 0.0], [*split, n - sum(split)])
        change = bounded_mean(values, np.ones(n), -1, 1)
        found |= {"delta_accuracy_low": change.low, "delta_accuracy_high": change.high}
    terms = {"paired": n, "margin": row.get("margin", MARGIN), "least_saving": LEAST_SAVING}
    found["verdict"] = verdict({**found, **terms}, baseline_right=True)
    return found


def main() -> None:
    """Rewrite the rows of each file."""
    for path in map(Path, sys.argv[1:]):
        results = json.loads(path.read_text("utf-8"))
        results["rows"] = [bounded(row) for row in results["rows"]]
        path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
