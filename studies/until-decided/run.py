"""How many problems does a verdict take that is looked for after every fifty, and is it the verdict of all 2,000?

    python studies/until-decided/run.py                  # minutes of recording, then replays
    python studies/until-decided/run.py --stage collect,show     # from the kept rows alone: 100 orders of the problems

The problems are those of the stopping study: 2,000 of each tier of sums, seed 0. Each rule is replayed on all of them.
Then the problems are put into 100 random orders, and each comparison stops as `bench --until-decided` does: after a
block of fifty, once an interval that holds at all times is certain.
"""

import argparse
import asyncio
import json
import lzma
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from satisfice import load_engine, load_task
from satisfice.measure.intervals import bootstrapped_ratio, bounded_mean
from satisfice.measure.replay import replay_plan
from satisfice.measure.run import BLOCK
from satisfice.measure.sequential import always_bounded_mean, always_ratio
from satisfice.measure.statistics import LEAST_SAVING, MARGIN, is_decided, verdict
from satisfice.recommend.tables import outcomes, policies_of
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import Recording

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.stages import command, do_stages, showing, table, write_results

HERE = Path(__file__).parent
TIERS = ("chain-sum:easy", "chain-sum:hard")
POLICIES = (
    "full", "nothinking", "first-cue", "first-cue(every=2)", "deer", "deer(threshold=0.995)",
    *(f"deer(threshold={t}, reuse_answer=true)" for t in (0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)),
)  # fmt: skip
ROWS = HERE / "rows.jsonl.xz"
ORDERS = 100
PROBLEMS = 2000


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for."""
    parser = command(__doc__, HERE)
    parser.add_argument("--recordings", type=Path, default=Path("runs/until-decided"))
    stages = {"record": lambda args: keep(args.recordings), "collect": do_collect, "show": showing(tables)}
    do_stages(parser, stages, argv)


def keep(folder: Path) -> None:
    """Record and replay, and keep of each answer whether it is right and what it spent."""
    lines = []
    for tier in TIERS:
        place = folder / tier.replace(":", "-")
        plan = RecordPlan(model="pocket", tasks=(load_task(tier, limit=PROBLEMS),), limit=PROBLEMS)
        asyncio.run(record(plan, load_engine("pocket"), place))
        recording = Recording(place)
        some = [problem for task in replay_plan(recording, "full").tasks for problem in task.problems]
        for policy in POLICIES:
            (found,) = asyncio.run(outcomes(recording, policies_of([policy]), some))
            said = "".join(np.where(found.unknown, "u", np.where(found.right, "r", "w")))
            lines.append({"task": tier, "policy": policy, "said": said, "spent": found.spent.tolist()})
            print(tier, policy, f"{found.right.mean():.4f}", f"{found.spent.mean():.2f}", flush=True)
    ROWS.write_bytes(lzma.compress("".join(json.dumps(line) + "\n" for line in lines).encode(), preset=9))


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one rule did on all problems of a tier."""

    right: Any  # [problems]
    known: Any  # [problems]
    spent: Any  # [problems]


def kept() -> dict[tuple[str, str], Answers]:
    """Return the kept answers by task and policy."""
    found = {}
    for line in lzma.decompress(ROWS.read_bytes()).decode().splitlines():
        row = json.loads(line)
        said = np.array(list(row["said"]))
        found[row["task"], row["policy"]] = Answers(
            right=(said == "r").astype(float), known=said != "u", spent=np.array(row["spent"], dtype=float)
        )
    return found


def compared(ours: Answers, full: Answers, some: Any, *, always: bool) -> dict[str, Any]:
    """Return the row of a comparison on some problems: what `measure.statistics.paired` says of them."""
    mean, ratio = (always_bounded_mean, always_ratio) if always else (bounded_mean, bootstrapped_ratio)
    some = some[ours.known[some] & full.known[some]]
    difference = mean(ours.right[some] - full.right[some], np.ones(len(some)), -1, 1)
    cost = ratio(ours.spent[some], full.spent[some])
    low, high = (None if end is None else 1 - end for end in (cost.high, cost.low))
    row = {
        "paired": len(some), "delta_accuracy": difference.value, "delta_accuracy_low": difference.low,
        "delta_accuracy_high": difference.high, "saving": 1 - cost.value, "saving_low": low, "saving_high": high,
        "margin": MARGIN, "least_saving": LEAST_SAVING,
    }  # fmt: skip
    return {**row, "verdict": verdict(row, baseline_right=int(full.right[some].sum()))}


def stopped(ours: Answers, full: Answers, order: Any) -> tuple[str, int]:
    """Return the verdict and how many problems it took, in an order of the problems."""
    row = {"verdict": "no claim"}
    for n in range(BLOCK, len(order) + 1, BLOCK):
        row = compared(ours, full, order[:n], always=True)
        if is_decided(row):
            return row["verdict"], n
    return row["verdict"], len(order)


def do_collect(args: argparse.Namespace) -> None:
    """Compare the verdicts of 100 orders with that of all problems, and write `results.json`."""
    answers, rows = kept(), []
    rng = np.random.default_rng(0)
    orders = [rng.permutation(PROBLEMS) for _ in range(ORDERS)]
    for (task, policy), ours in answers.items():
        if policy == "full":
            continue
        full = answers[task, "full"]
        whole = compared(ours, full, np.arange(PROBLEMS), always=False)
        found = [stopped(ours, full, order) for order in orders]
        said = Counter(verdict for verdict, _ in found)
        rows.append(
            {
                "task": task, "policy": policy, "verdict": whole["verdict"], "delta": whole["delta_accuracy"],
                "delta_low": whole["delta_accuracy_low"], "delta_high": whole["delta_accuracy_high"],
                "saving": whole["saving"], "mean": float(np.mean([n for _, n in found])),
                "median": float(np.median([n for _, n in found])), "same": said[whole["verdict"]],
                "open": sum(n for verdict, n in said.items() if verdict == "no claim" != whole["verdict"]),
                "said": dict(said),
            }
        )  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    whole = sum(len(said["said"]) > 0 for said in rows)
    wrong = sum(n for row in rows for said, n in row["said"].items() if said not in (row["verdict"], "no claim"))
    told = {
        "comparisons": len(rows), "orders": ORDERS, "mean": float(np.mean([row["mean"] for row in rows])),
        "wrong": wrong / (whole * ORDERS), "open": sum(row["open"] for row in rows) / (whole * ORDERS), "rows": rows,
    }  # fmt: skip
    print({k: v for k, v in told.items() if k != "rows"})
    write_results(args, told)


def tables(results: Mapping[str, Any]) -> str:
    """Every comparison."""
    lines = [
        [
            row["task"].rpartition(":")[2].partition("@")[0], f"`{row['policy']}`", f"{100 * row['saving']:.0f} %",
            f"{100 * row['delta']:+.1f} ({100 * row['delta_low']:+.1f} to {100 * row['delta_high']:+.1f})",
            row["verdict"], f"{row['mean']:.0f}, {row['median']:.0f}", f"{row['same']} of {results['orders']}",
            row["open"],
        ]
        for row in results["rows"]
    ]  # fmt: skip
    heads = (
        "tier", "rule", "saving", "accuracy, points (95 %)", "verdict of 2,000", "problems: mean, median",
        "same verdict", "undecided at 2,000",
    )  # fmt: skip
    return table(heads, lines)


if __name__ == "__main__":
    main()
