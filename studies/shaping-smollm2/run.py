"""Adapters that make SmolLM2's reasoning brief: what is saved, what is lost, and what a stop rule still adds.

    python studies/shaping-smollm2/run.py --stop "RULE THAT studies/stopping-smollm2 CHOSE"

Each method trains an adapter on top of the reasoning adapter through `satisfice train`'s own code, with the same number
of rollouts a step; how many steps it gets is chosen on the calibration split, among models on the way. All are measured
on the same problems against the reasoning adapter, thinking to its end and under the stop rule. The reasoning adapter's
own numbers are those of studies/stopping-smollm2 (`--before ""` measures it again). What is done is kept under
runs/shaping-smollm2, so a run that was stopped goes on inside a training too, and `--stage` does some parts alone:
`--only METHOD` in a process for each core (`OMP_NUM_THREADS=1`) is quicker than one process. `--stage collect,show`
needs neither a model nor the runs.
"""

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import torch

from satisfice import load_engine, load_task
from satisfice.catalog import build, canonical
from satisfice.core.errors import Unfit
from satisfice.core.shaper import SHAPER
from satisfice.made.pocket import is_bfloat16_quick
from satisfice.measure.plan import make_plan
from satisfice.measure.run import run_bench
from satisfice.report.words import ENOUGH
from satisfice.tasks import Split
from satisfice.training.adapter import in_bfloat16
from satisfice.training.model_card import model_card
from satisfice.training.plan import TrainPlan
from satisfice.training.rollout import DirectJudge

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.kept import ALL, Sample, keep, kept, numbers, pooled, rows_of, span
from library.stages import command, do_stages, showing, write_results

HERE = Path(__file__).parent
TASKS = "leg-counting:easy,products:easy,chain-sum:easy"  # those of its families that the model can do
LIMIT = 768  # tokens of a rollout; no trace that the adapter learned from is longer
BEFORE = "reasoning"  # what the trained ones are compared with
METHODS = {
    "grpo": "grpo",  # no pressure on length: what training alone does
    "kimi-length": "kimi-length",
    "a-dlp": "a-dlp(target=0.58)",
}
"""With the papers' settings, but for the accuracy to hold, which is this model's before training (192 rollouts)."""
SAMPLES, CURVES = "samples.jsonl.xz", "curves.json"
BEFORE_FILE = HERE.parent / "stopping-smollm2" / SAMPLES
FIGURES = ("accuracy", "spent")
EVERY = 5  # steps between the models that are chosen among
HOPE = 0.01  # accuracy lost on the calibration split up to which a model may be chosen
SPLITS: tuple[Split, ...] = ("eval", "calibration")
Row = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for, in their order."""
    parser = command(__doc__, HERE)
    parser.add_argument("--model", default="smollm2+reasoning", help="whose reasoning is made brief")
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--only", default=",".join(METHODS), help="these methods alone")
    parser.add_argument("--stop", default="deer(threshold=0.9, reuse_answer=true)", help="stop rule on top")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--prompts", type=int, default=8, help="problems a step")
    parser.add_argument("--group", type=int, default=4, help="rollouts a problem")
    parser.add_argument("--limit", type=int, default=200, help="problems a task to train on")
    parser.add_argument("--learning-rate", type=float, default=7e-4)
    parser.add_argument("--rank", type=int, default=8, help="of the adapters")
    parser.add_argument("--rollout-dtype", default="float32", help="in which rollouts are sampled")
    parser.add_argument("--problems", type=int, default=500, help="a task, to measure on")
    parser.add_argument("--calibration", type=int, default=60, help="a task, to choose models on")
    parser.add_argument("--before", default=str(BEFORE_FILE), help="the model's own numbers; '': measure them")
    parser.add_argument("--options", default="", help="of the engine that measures, as in dtype=bfloat16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/shaping-smollm2"), help="trainings and runs")
    do_stages(parser, STAGES, argv, prepare=lambda args: torch.set_num_threads(args.threads))


# Stages


def plan_of(args: argparse.Namespace, name: str) -> TrainPlan:
    """The training of one method."""
    tasks = tuple(load_task(task, split="train", limit=args.limit) for task in args.tasks.split(","))
    return TrainPlan(
        model=args.model, tasks=tasks, shaper=build(METHODS[name], SHAPER), steps=args.steps,
        prompts=args.prompts, group=args.group, max_tokens=LIMIT, temperature=1.0, learning_rate=args.learning_rate,
        part=2, warmup=4, bf16=is_bfloat16_quick("cpu"), save_every=EVERY, keep_every=EVERY,
        lora=args.rank, rollout_dtype=args.rollout_dtype,
    )  # fmt: skip


def do_train(args: argparse.Namespace) -> None:
    """Train what is not yet trained; a method that the pre-flight sees no hope for is named and left out."""
    from satisfice.training.run import train
    from satisfice.training.watcher import Watcher

    for name in args.only.split(","):
        plan = plan_of(args, name)

        def step(row: Mapping[str, Any], name: str = name) -> None:
            right, length = row["rollouts/accuracy"], row["rollouts/length"]
            print(f"{name} step {row['step']}: {right:.3f} right, {length:.0f} tokens, {row['step_time']:.0f} s")

        try:
            train(plan, args.out / "train" / name, DirectJudge(plan.tasks), watcher=Watcher(step=step, note=print))
        except Unfit as refusal:
            print(f"{name}: refused: {refusal}", flush=True)


def do_choose(args: argparse.Namespace) -> None:
    """Measure the models on the way on the calibration split; of each method the best one's adapter goes on."""
    for name in trained(args):
        plan = plan_of(args, name)
        steps = range(EVERY, args.steps + 1, EVERY)
        models = {f"{name}-{step}": plan.outcome(args.out / "train" / name, step) for step in steps}
        first = bench(args, "calibration", models)
        runs = {label: numbers(args.out / "calibration" / label) for label in models}
        best = chosen(rows_of(named(runs, first)), name)
        print(f"{name}: the model after {best} of {args.steps} steps", flush=True)
        adapter = adapter_of(args, name)
        if not adapter.exists():  # what is measured is what others get: the small file
            part = adapter.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(plan.outcome(args.out / "train" / name, best).rpartition("+")[2], part)
            in_bfloat16(part)
            part.rename(adapter)


def chosen(rows: Sequence[Row], name: str) -> int:
    """The step after which a method saves most and loses at most `HOPE` over all families, or else the safest."""
    tried = {row["policy"]: row for row in pooled(rows) if row["policy"].startswith(f"{name}-")}
    fit = {policy: row for policy, row in tried.items() if row["delta_accuracy"] >= -HOPE}
    if fit:
        best = max(fit, key=lambda policy: fit[policy]["saving"])
    else:
        best = max(tried, key=lambda policy: tried[policy]["delta_accuracy"])
    return int(best.partition(":")[0].rpartition("-")[2])


def bench(args: argparse.Namespace, split: Split, models: Mapping[str, str]) -> list[Sample]:
    """Run the policies on models, or what of that is not yet done; returns what the model before does."""
    first = before(args, split)
    for name, model in {**({} if first else {BEFORE: args.model}), **models}.items():
        whole = f"{model}?{args.options}" if args.options else model
        plan = make_plan(
            model=whole, tasks=args.tasks.split(","), split=split, concurrency=32,
            policies="full" if split == "calibration" else f"full,{args.stop}",
            limit=args.calibration if split == "calibration" else args.problems,
        )  # fmt: skip
        asyncio.run(run_bench(plan, load_engine(whole), args.out / split / name))
    return first or numbers(args.out / split / BEFORE)


def do_measure(args: argparse.Namespace) -> None:
    """Each chosen adapter with and without the stop rule."""
    names = [name for name in args.only.split(",") if name in done(args)]
    bench(args, "eval", {name: f"{args.model}+{adapter_of(args, name)}" for name in names})


def adapter_of(args: argparse.Namespace, name: str) -> Path:
    """Where a method's adapter lies."""
    return Path(args.out / "adapters" / name)


def trained(args: argparse.Namespace) -> list[str]:
    """Those of the methods asked for whose training is at its end."""
    return [name for name in args.only.split(",") if (args.out / "train" / name / "model").is_dir()]


def done(args: argparse.Namespace) -> list[str]:
    """The methods whose adapter has been chosen."""
    return [name for name in METHODS if adapter_of(args, name).is_dir()]


def before(args: argparse.Namespace, split: Split) -> list[Sample]:
    """What another study measured of the model that trainings begin with."""
    policies = ("full", canonical(build(args.stop)))
    runs = kept(Path(args.before)) if args.before else {}
    found = [row for name, rows in runs.items() if name.startswith(f"{split}-replayed/") for row in rows]
    return [row for row in found if row["policy"] in policies]


def do_keep(args: argparse.Namespace) -> None:
    """Put the numbers of all samples and the curves of the trainings into two small files, and write the cards."""
    from satisfice.training.folder import read_steps

    folders = [folder for split in SPLITS for folder in sorted((args.out / split).glob("*"))]
    keep(args.results / SAMPLES, {str(folder.relative_to(args.out)): folder for folder in folders})
    curves = [
        {"method": name, "step": row["step"], "accuracy": row["rollouts/accuracy"], "tokens": row["rollouts/length"]}
        for name in done(args)
        for row in read_steps(args.out / "train" / name)
    ]
    (args.results / CURVES).write_text(json.dumps(curves) + "\n", "utf-8")
    rows = measured(args, "eval")
    for name in done(args):
        folder = args.out / "train" / name
        run = json.loads((folder / "train.json").read_text("utf-8"))
        run["config"]["steps"] = chosen(measured(args, "calibration"), name)
        steps = [row for row in read_steps(folder) if row["step"] <= run["config"]["steps"]]
        card = model_card(run, steps, compared(rows, name))
        (adapter_of(args, name) / "README.md").write_text(card, "utf-8")


def measured(args: argparse.Namespace, split: Split) -> list[Row]:
    """What all adapters did on a split, against the one before thinking to its end."""
    all_runs = kept(args.results / SAMPLES)
    runs = {name.partition("/")[2]: rows for name, rows in all_runs.items() if name.startswith(f"{split}/")}
    return rows_of(named(runs, runs.pop(BEFORE, []) or before(args, split)))


def named(runs: Mapping[str, list[Sample]], first: list[Sample]) -> list[Sample]:
    """Samples with the name of the adapter before the policy's, but for what all are compared with."""
    return [
        {**row, "policy": row["policy"] if (name, row["policy"]) == (BEFORE, "full") else f"{name}: {row['policy']}"}
        for name, some in {BEFORE: first, **runs}.items()
        for row in some
    ]


def compared(rows: Sequence[Row], name: str) -> list[Row]:
    """For a card: a trained adapter against the one before, thinking to the end, task by task."""
    first = {row["task"]: row for row in rows if row["policy"] == "full"}
    return [
        {**row, **{f"{f}_first": first[row["task"]][f] for f in FIGURES}, **{f"{f}_second": row[f] for f in FIGURES}}
        for row in rows
        if row["policy"] == f"{name}: full" and row["task"] != ALL
    ]


def do_collect(args: argparse.Namespace) -> None:
    """Make results.json and the figure from these."""
    rows = {split: measured(args, split) for split in SPLITS}
    taken = {name: chosen(rows["calibration"], name) for name in METHODS if has(rows["calibration"], name)}
    settings = {"steps": taken, "rank": args.rank, "stop": canonical(build(args.stop)), "methods": METHODS}
    tried = [row for row in rows["calibration"] if row["policy"].endswith("full")]
    results = {"schema_version": 1, **settings, "rows": rows["eval"], "calibration": tried}
    write_results(args, results)
    draw(pooled(rows["eval"]), json.loads((args.results / CURVES).read_text("utf-8")), args.results / "figure.png")


def tables(results: Mapping[str, Any]) -> str:
    """Each family, and the models on the way."""
    rows, tried = results["rows"], pooled(results["calibration"])
    each = [table(rows, task) for task in dict.fromkeys(row["task"] for row in rows)]
    return "\n\n".join([*each, table(tried, str(tried[0]["task"]), "Models on the way, calibration split")])


def has(rows: Sequence[Row], name: str) -> bool:
    """Whether models of a method were tried."""
    return any(row["policy"].startswith(f"{name}-") for row in rows)


STAGES = {
    "train": do_train,
    "choose": do_choose,
    "measure": do_measure,
    "keep": do_keep,
    "collect": do_collect,
    "show": showing(tables),
}


# Showing


def table(rows: Sequence[Row], task: str, title: str = "") -> str:
    """Each adapter with and without the stop rule on a task, against the reasoning adapter without."""
    lines = [
        f"**{title or ('All families' if task == ALL else task.partition('@')[0])}**", "",
        "| adapter | rule | n | accuracy | spent | saving (95 %) | accuracy difference, points (95 %) | verdict |",
        "|" + " --- |" * 8,
    ]  # fmt: skip
    for row in (row for row in rows if row["task"] == task):
        adapter, _, rule = row["policy"].rpartition(": ")
        spans = (span(row, "saving"), span(row, "delta_accuracy", "+")) if adapter else ("", "")
        said = "no claim" if row["verdict"] == "saves" and row["n"] < ENOUGH else row["verdict"]
        lines.append(
            f"| {adapter or BEFORE} | `{rule}` | {row['n']} | {100 * row['accuracy']:.1f} | {row['spent']:.0f} | "
            f"{spans[0]} | {spans[1]} | {said} |"
        )
    return "\n".join(lines)


def draw(rows: Sequence[Row], curves: Sequence[Row], path: Path) -> None:
    """Accuracy against tokens with and without the rule, and how both went during the trainings."""
    points = [
        {**{name: row[name] for name in ("spent", "accuracy", "accuracy_low", "accuracy_high")},
         "adapter": row["policy"].rpartition(": ")[0] or BEFORE, "rule": row["policy"].rpartition(": ")[2]}
        for row in rows
    ]  # fmt: skip
    scale = alt.Scale(zero=False)
    x, y = alt.X("spent:Q", title="tokens spent"), alt.Y("accuracy:Q", scale=scale, title="accuracy (95 %)")
    scheme = alt.Scale(domain=[*METHODS, BEFORE])  # a method has one colour in all panels
    data, low, color = alt.Data(values=points), alt.Y("accuracy_low:Q"), alt.Color("adapter:N", scale=scheme)
    spans = alt.Chart(data).mark_rule().encode(x=x, y=low, y2="accuracy_high:Q", color=color)
    dots = alt.Chart(data).mark_point(filled=True, size=80).encode(x=x, y=y, color=color, shape="rule:N")
    charts: list[Any] = [spans + dots]
    for field in ("tokens", "accuracy"):
        lines = alt.Chart(alt.Data(values=curves)).mark_line().encode(
            x="step:Q", y=alt.Y(f"{field}:Q", title=f"{field}, rollouts", scale=scale),
            color=alt.Color("method:N", scale=scheme),
        )  # fmt: skip
        charts.append(lines)
    panels = [chart.properties(width=300, height=260) for chart in charts]
    alt.hconcat(*panels).resolve_scale(color="independent").save(str(path), ppi=110)


if __name__ == "__main__":
    main()
