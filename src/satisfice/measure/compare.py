"""Set two runs side by side: the same policies on the same problems, the second against the first."""

from pathlib import Path
from typing import Any

from satisfice.core.errors import BadInput
from satisfice.measure.statistics import MARGIN, Sample, paired, summary
from satisfice.measure.store import SCHEMA_VERSION, read_results, read_samples

Cells = dict[tuple[str, str], dict[tuple[str, int], Sample]]


def compare_runs(first: Path, second: Path, *, margin: float = MARGIN) -> dict[str, Any]:
    """Rows for each task and policy that both runs have, on the problems and seeds that both have.

    `delta_accuracy` and `saving` are of the second run against the first, with the verdicts of `statistics.verdict`.

    Raises:
        BadInput: a folder holds no run, or the two have nothing in common.
    """
    runs = {"first": read_results(first), "second": read_results(second)}
    ours, theirs = _cells(second), _cells(first)
    rows = []
    for task, policy in theirs:
        cell = ours.get((task, policy), {})
        keys = cell.keys() & theirs[task, policy].keys()
        if not keys:
            continue
        a, b = {key: theirs[task, policy][key] for key in keys}, {key: cell[key] for key in keys}
        before, after = summary(a), summary(b)
        fields = ("accuracy", "spent", "kept", "wall_s", "no_answer_rate")
        rows.append(
            {
                "task": task, "policy": policy, "n": after["n"],
                **{f"{name}_first": before[name] for name in fields},
                **{f"{name}_second": after[name] for name in fields},
                **paired(b, a, margin=margin),
            }
        )  # fmt: skip
    if not rows:
        raise BadInput(
            f"{first} and {second} have no problem in common under the same policy: "
            f"{_scope(runs['first'])} against {_scope(runs['second'])}. "
            "Compare runs of the same tasks, split and policies."
        )
    paths = {"first": first, "second": second}
    configs = {name: {"path": str(paths[name]), "config": run["config"]} for name, run in runs.items()}
    return {"schema_version": SCHEMA_VERSION, **configs, "rows": rows}


def _cells(path: Path) -> Cells:
    cells: Cells = {}
    for row in read_samples(path):
        cells.setdefault((row["task"], row["policy"]), {})[row["problem"], row["seed"]] = row
    return cells


def _scope(results: dict[str, Any]) -> str:
    config = results["config"]
    return f"{', '.join(config['tasks'])} under {', '.join(config['policies'])} ({config['split']})"
