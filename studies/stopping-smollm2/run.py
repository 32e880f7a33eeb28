"""Stop rules on SmolLM2 taught to reason: accuracy against everything spent, at settings fixed on another split.

    python studies/stopping-smollm2/run.py

Chains are recorded once, task by task; rules that only look are replayed on them, the others run live on fewer
problems. Settings are chosen on the calibration split. What is done is kept under runs/stopping-smollm2, so a run that
was stopped goes on, and `--stage` does some parts alone: `--stage record --tasks ONE` in a process for each core
(`OMP_NUM_THREADS=1`) is quicker than one process. The numbers of all samples lie beside this file:
`--stage collect,show` makes tables and figure from them, without a model and without the runs.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from satisfice import load_engine, load_task
from satisfice.catalog import build, canonical, check_fit
from satisfice.core.engine import Engine
from satisfice.core.errors import Unfit
from satisfice.measure.plan import make_plan
from satisfice.measure.replay import replay, replay_plan
from satisfice.measure.run import run_bench
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import Recording
from satisfice.recordings.replay import ReplayEngine
from satisfice.report.words import ENOUGH
from satisfice.tasks import Split

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.kept import ALL, keep, kept, numbers, pooled, rows_of, span
from library.stages import command, do_stages, showing, write_results

HERE = Path(__file__).parent
MODEL = "smollm2+reasoning"
TASKS = "leg-counting:easy,products:easy,chain-sum:easy"  # those of its families that the model can do
HOPE = 0.01  # accuracy lost on the calibration split up to which a setting may be chosen
EVERY = 128  # tokens between two checkpoints, besides those at cues: two answers each, so they cost more than the chain
SPLITS: tuple[Split, ...] = ("calibration", "eval")
SAMPLES = "samples.jsonl.xz"

PLAIN = (
    "full", "nothinking", "first-cue", "first-cue(every=2)",
    *(f"fixed-budget(tokens={n})" for n in (128, 256, 384)),
)  # fmt: skip
LOOKING = {
    "deer": [f"deer(threshold={t})" for t in (0.95, 0.9, 0.97, 0.98, 0.99, 0.995, 0.999)],
    "deer, keeping the trial answer": [
        f"deer(threshold={t}, reuse_answer=true)" for t in (0.95, 0.9, 0.97, 0.98, 0.99, 0.995, 0.999)
    ],
    "es-cot, at cues": [f"es-cot(trigger=cue, d_min={d})" for d in (10, 1, 2, 3)],
    "dynasor-cot, observing": [f"dynasor-cot(k={k}, chunk={EVERY}, greedy=true, overlap=false)" for k in (3, 1, 2)],
}
ACTING = {
    "eot-temperature": [f"eot-temperature(beta={b})" for b in (2.0, 1.0, 4.0)],
    "no-wait": ["no-wait", "no-wait(strength=1.0)", "no-wait(strength=3.0)"],
    "concise": [f"concise(threshold={t})" for t in (0.5, 0.8)],
    "s1-budget-forcing": ["s1-budget-forcing"],
    "entropy-reduction": [f"entropy-reduction(h_stop={h})" for h in (0.2, 0.05)],  # only looks, but after each step
}
"""Of each rule the published setting first, then others to choose from."""


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for, in their order."""
    parser = command(__doc__, HERE)
    parser.add_argument("--model", default=MODEL, help="any that `satisfice bench` takes")
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--problems", type=int, default=500, help="a task, where savings are claimed")
    parser.add_argument("--calibration", type=int, default=60, help="problems a task to choose settings on")
    parser.add_argument("--live", type=int, default=60, help="problems a task for rules that act")
    parser.add_argument("--live-choose", type=int, default=20, help="problems a task to choose their settings on")
    parser.add_argument("--concurrency", type=int, default=32, help="chains at once")
    parser.add_argument("--out", type=Path, default=Path("runs/stopping-smollm2"), help="recordings and runs")
    do_stages(parser, STAGES, argv)


# Stages


def do_record(args: argparse.Namespace) -> None:
    """Record a chain for each problem of both splits, with what copies of it answer on the way."""
    for split, limit in zip(SPLITS, (args.calibration, args.problems), strict=True):
        for name in args.tasks.split(","):
            plan = RecordPlan(
                model=args.model, tasks=(load_task(name, split=split, limit=limit),), limit=limit, split=split,
                at=("cue",), every=EVERY, trial_tokens=20, concurrency=args.concurrency,
            )  # fmt: skip
            asyncio.run(record(plan, load_engine(args.model), args.out / "recordings" / split / slug(name)))


def do_choose(args: argparse.Namespace) -> None:
    """Try every setting of the rules that only look on the calibration split."""
    replayed(args, "calibration", ["full", *(spec for grid in LOOKING.values() for spec in grid)])


def do_choose_live(args: argparse.Namespace) -> None:
    """Try every setting of the rules that act, on fewer problems."""
    lived(args, "calibration", ["full", *(spec for grid in ACTING.values() for spec in grid)], args.live_choose)


def do_replay(args: argparse.Namespace) -> None:
    """Replay the rules that only look, as published and as chosen."""
    folders = [args.out / "calibration-replayed" / slug(name) for name in args.tasks.split(",")]
    calibrated = [sample for folder in folders for sample in numbers(folder)]
    replayed(args, "eval", [*PLAIN, *settled(LOOKING, calibrated)])


def do_live(args: argparse.Namespace) -> None:
    """Run the rules that act, as published and as chosen."""
    lived(args, "eval", ["full", *settled(ACTING, numbers(args.out / "calibration-live"))], args.live)


def do_keep(args: argparse.Namespace) -> None:
    """Put the numbers of all samples into one small file."""
    found = [*sorted(args.out.glob("*-replayed/*")), *sorted(args.out.glob("*-live"))]
    keep(args.results / SAMPLES, {str(folder.relative_to(args.out)): folder for folder in found})


def do_collect(args: argparse.Namespace) -> None:
    """Make results.json and the figure from the numbers."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for name, samples in kept(args.results / SAMPLES).items():
        runs.setdefault(name.partition("/")[0], []).extend(samples)
    kinds = {how: grids for how, grids in (("replayed", LOOKING), ("live", ACTING)) if f"eval-{how}" in runs}
    rows = [{"how": how, **row} for how in kinds for row in rows_of(runs[f"eval-{how}"])]
    chosen = {how: choose(grids, runs[f"calibration-{how}"]) for how, grids in kinds.items()}
    write_results(args, {"schema_version": 1, "chosen": chosen, "rows": rows})
    draw(pooled(rows), args.results / "figure.png")


def tables(results: Mapping[str, Any]) -> str:
    """All families together, then each."""
    return f"{table(pooled(results['rows']))}\n\n{by_task(results['rows'])}"


STAGES = {
    "record": do_record, "choose": do_choose, "choose-live": do_choose_live, "replay": do_replay, "live": do_live,
    "keep": do_keep, "collect": do_collect, "show": showing(tables),
}  # fmt: skip


# Rules


def replayed(args: argparse.Namespace, split: Split, specs: Sequence[str]) -> None:
    """Replay rules on what was recorded of a split, task by task."""
    for name in args.tasks.split(","):
        recording = Recording(args.out / "recordings" / split / slug(name))
        engine = ReplayEngine(recording)
        plan = replay_plan(recording, ",".join(fitting(specs, engine)))
        asyncio.run(replay(plan, engine, args.out / f"{split}-replayed" / slug(name)))


def lived(args: argparse.Namespace, split: Split, specs: Sequence[str], limit: int) -> None:
    """Run rules on the first problems of a split."""
    engine = load_engine(args.model)
    plan = make_plan(
        model=args.model, tasks=args.tasks.split(","), policies=",".join(fitting(specs, engine)), limit=limit,
        split=split, concurrency=args.concurrency,
    )  # fmt: skip
    asyncio.run(run_bench(plan, engine, args.out / f"{split}-live"))


def slug(task: str) -> str:
    """A task's name as that of a folder."""
    return task.replace(":", "-")


def fitting(specs: Sequence[str], engine: Engine) -> list[str]:
    """Those that the engine, or the recording, has all for; the others are named."""
    found = []
    for spec in dict.fromkeys(canonical(build(spec)) for spec in specs):
        try:
            check_fit([build(spec)], engine.name, engine.provides)
            found.append(spec)
        except Unfit as error:
            print(f"left out: {spec}: {error}", flush=True)
    return found


def choose(grids: Mapping[str, Sequence[str]], samples: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Of each rule the setting that saves most and loses at most `HOPE` over all families, or else the safest."""
    rows = {row["policy"]: row for row in pooled(rows_of(samples))}
    found = {}
    for rule, grid in grids.items():
        tried = [rows[policy] for policy in (canonical(build(spec)) for spec in grid) if policy in rows]
        fit = [row for row in tried if row["delta_accuracy"] >= -HOPE]
        safest = max(tried, key=lambda row: row["delta_accuracy"], default=None)
        if safest:
            found[rule] = str(max(fit, key=lambda row: row["saving"], default=safest)["policy"])
    return found


def settled(grids: Mapping[str, Sequence[str]], samples: Sequence[dict[str, Any]]) -> list[str]:
    """Of each rule the published setting and the chosen one."""
    chosen = choose(grids, samples)
    return [spec for rule, grid in grids.items() for spec in (grid[0], chosen.get(rule)) if spec]


# Showing


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Every rule over all families, in the order of what is saved."""
    head = "| rule | how | n | accuracy | spent | saving (95 %) | accuracy difference, points (95 %) | verdict |"
    lines = [head, "|" + " --- |" * 8]
    for row in sorted(rows, key=lambda row: (row["how"] == "live", -(row["saving"] or 0))):
        spans = ("", "") if row["policy"] == "full" else (span(row, "saving"), span(row, "delta_accuracy", "+"))
        said = "no claim" if row["verdict"] == "saves" and row["n"] < ENOUGH else row["verdict"]
        lines.append(
            f"| `{row['policy']}` | {row['how']} | {row['n']} | {100 * row['accuracy']:.1f} | {row['spent']:.0f} | "
            f"{spans[0]} | {spans[1]} | {said} |"
        )
    return "\n".join(lines)


def by_task(rows: Sequence[Mapping[str, Any]]) -> str:
    """Saving in percent and accuracy difference in points, family by family."""
    tasks = [task for task in dict.fromkeys(row["task"] for row in rows) if task != ALL]
    cells = {(row["how"], row["policy"], row["task"]): row for row in rows}
    head = "| rule | how | " + " | ".join(task.partition("@")[0] for task in tasks) + " |"
    lines = [head, "|" + " --- |" * (2 + len(tasks))]
    for how, policy in dict.fromkeys((how, policy) for how, policy, _ in cells):
        told = [
            f"{100 * row['accuracy']:.1f} right" if policy == "full"
            else f"{100 * row['saving']:.0f} / {100 * row['delta_accuracy']:+.1f}"
            for row in (cells[how, policy, task] for task in tasks)
        ]  # fmt: skip
        lines.append(f"| `{policy}` | {how} | " + " | ".join(told) + " |")
    return "\n".join(lines)


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Accuracy against everything spent, fixed budgets as a line."""
    told = [{**row, "rule": row["policy"].partition("(")[0]} for row in rows]
    caps = [row for row in told if row["rule"] in ("fixed-budget", "full") and row["how"] == "replayed"]
    x, y = alt.X("spent:Q", title="tokens spent"), alt.Y("accuracy:Q", scale=alt.Scale(zero=False))
    line = alt.Chart(alt.Data(values=caps)).mark_line(color="#999", point={"color": "#999"}).encode(x=x, y=y)
    color = alt.Color("rule:N", title=None, scale=alt.Scale(scheme="tableau20"))
    rest = alt.Data(values=[row for row in told if row["rule"] != "fixed-budget"])
    dots = alt.Chart(rest).mark_point(filled=True, size=70).encode(x=x, y=y, color=color, shape="how:N")
    (line + dots).properties(width=520, height=380).save(str(path), ppi=110)


if __name__ == "__main__":
    main()
