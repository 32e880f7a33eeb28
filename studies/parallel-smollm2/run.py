"""Policies over several chains on SmolLM2 taught to reason, and what it makes of policies that talk to the model.

    python studies/parallel-smollm2/run.py

Eight chains a problem are recorded once; policies that only watch are replayed on them. Policies that ask for a form in
prose (a plan, notes, summaries for others, labels of a batch) run live on fewer problems, and how often the model does
what they ask is counted. What is done is kept under runs/parallel-smollm2, so a run that was stopped goes on, and
`--stage` does some parts alone; `--stage collect,show` needs neither a model nor the runs.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt

from satisfice import load_engine, load_task
from satisfice.answers.extract import boxed
from satisfice.catalog import build, canonical
from satisfice.core.problem import Verdict
from satisfice.measure.plan import BenchPlan, make_plan
from satisfice.measure.replay import replay, replay_plan
from satisfice.measure.run import run_bench
from satisfice.methods.parallel.batchprompt import pack
from satisfice.methods.parallel.leap import CLOSE, OPEN
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import Recording, read_recording
from satisfice.recordings.replay import ReplayEngine
from satisfice.tasks import Task

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.kept import ALL, keep, kept, numbers, pooled, rows_of, span
from library.stages import command, do_stages, showing, write_results

HERE = Path(__file__).parent
MODEL = "smollm2+reasoning"
TASKS = "leg-counting:easy,products:easy,chain-sum:easy"  # those of its families that the model can do
WINDOW = 32  # tokens; DeepConf's 2,048 are longer than any chain here
PACK, INSTRUCTION = 4, "Solve each of these problems."
PROSE = ("plan-first(plan_tokens=64)", "pdr(workspace=128)", "leap(turn=64, max_turns=3, summary_tokens=48)")
BATCH = "batchprompt(rounds=3)"
ASKED = {
    "plan-first": "a plan that ends by itself and states no answer",
    "pdr": "notes on the drafts that end by themselves and are longer than a draft's visible answer",
    "leap": "summaries that are closed with the tag",
    "batchprompt": "items that some round has a line for in the form that was asked for",
}
"""What counts as having followed a policy's form."""
SAMPLES, COUNTS = "samples.jsonl.xz", "counts.json"


def watching(chains: int) -> list[str]:
    """Policies that only look at chains, at every size up to so many."""
    powers = [2**k for k in range(1, chains.bit_length())]
    sizes = [
        spec
        for n in powers
        for spec in (
            f"self-consistency(n={n})", f"adaptive-consistency(n={n})", f"first-finish(n={n})",
            f"first-finish(n={n}, k={max(2, n // 4)})", f"deepconf(n={n}, mode=offline, eta=50, window={WINDOW})",
        )
    ]  # fmt: skip
    online = [
        f"deepconf(n={n}, warmup={n // 2}, eta={eta}, window={WINDOW})" for n in powers if n >= 8 for eta in (10, 90)
    ]
    return ["full", *dict.fromkeys(canonical(build(spec)) for spec in (*sizes, *online))]


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for, in their order."""
    parser = command(__doc__, HERE)
    parser.add_argument("--model", default=MODEL, help="any that `satisfice bench` takes")
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--problems", type=int, default=60, help="a task, recorded")
    parser.add_argument("--chains", type=int, default=8, help="a problem, recorded")
    parser.add_argument("--prose", type=int, default=20, help="problems a task for policies in prose")
    parser.add_argument("--concurrency", type=int, default=32, help="chains at once")
    parser.add_argument("--out", type=Path, default=Path("runs/parallel-smollm2"), help="recordings and runs")
    do_stages(parser, STAGES, argv)


# Stages


def load(args: argparse.Namespace, limit: int) -> tuple[Task, ...]:
    """The tasks with so many problems each."""
    return tuple(load_task(name, limit=limit) for name in args.tasks.split(","))


def do_record(args: argparse.Namespace) -> None:
    """Record what is not yet recorded; every problem has its first chain before any has its second."""
    plan = RecordPlan(
        model=args.model, tasks=load(args, args.problems), limit=args.problems, chains=args.chains, at=(),
        top_logprobs=20, concurrency=args.concurrency,
    )  # fmt: skip
    asyncio.run(record(plan, load_engine(args.model), args.out / "recording"))


def do_replay(args: argparse.Namespace) -> None:
    """Replay every policy that only watches."""
    recording = Recording(args.out / "recording")
    plan = replay_plan(recording, ",".join(watching(args.chains)))
    asyncio.run(replay(plan, ReplayEngine(recording), args.out / "replayed"))


def do_prose(args: argparse.Namespace) -> None:
    """Run the policies that ask for a form, and one chain beside them; then batches of the same problems."""
    plan = make_plan(
        model=args.model, tasks=args.tasks.split(","), policies=",".join(("full", *PROSE)), limit=args.prose,
        concurrency=max(1, args.concurrency // 4),  # problems: pdr and leap have four chains each
    )  # fmt: skip
    asyncio.run(run_bench(plan, load_engine(args.model), args.out / "prose"))
    packs = BenchPlan(
        models=(args.model,), tasks=tuple(packed(task) for task in load(args, args.prose)),
        policies={canonical(build(BATCH)): build(BATCH)}, limit=args.prose, concurrency=args.concurrency,
    )  # fmt: skip
    asyncio.run(run_bench(packs, load_engine(args.model), args.out / "batches"))


def packed(task: Task) -> Task:
    """A task whose problems are batches of the given one's. A whole batch has no verdict: items are judged later."""
    some = task.problems
    batches = (pack(some[at : at + PACK], INSTRUCTION) for at in range(0, len(some), PACK))
    return replace(task, problems=tuple(replace(batch, task=task.name) for batch in batches))


def do_keep(args: argparse.Namespace) -> None:
    """Put the numbers of all samples, and the counts of forms followed and problems solved at all, into two files."""
    keep(args.results / SAMPLES, {name: args.out / name for name in ("replayed", "prose")})
    forms: dict[str, dict[str, float]] = {}
    for row in numbers(args.out / "prose", ["log"]):
        if row["policy"] != "full":
            count(forms, row["policy"], *followed(row))
    tasks = {task.name: task for task in load(args, args.prose)}
    for row in numbers(args.out / "batches", ["text"]):
        task, names = tasks[row["task"]], row["problem"].split("+")
        lines = row["text"].splitlines() if len(names) > 1 else [f"0: {row['text']}"]
        said = {name: line.partition(":")[2].strip() for name, line in zip(names, lines, strict=False)}
        items = [(problem, said[problem.id]) for problem in task.problems if said.get(problem.id)]
        right = sum(task.verify(problem, boxed(text) or text) is Verdict.RIGHT for problem, text in items)
        count(forms, row["policy"], len(names), len(items), right=right, spent=row["spent"])
    counts = {"forms": forms, "any_right": any_right(args.out / "recording")}
    (args.results / COUNTS).write_text(json.dumps(counts, indent=1) + "\n", "utf-8")


def any_right(folder: Path) -> dict[str, float]:
    """On which share of the problems at least one of the first n chains is right, n doubling: what a vote could get."""
    verdicts: dict[tuple[str, str], dict[int, Verdict]] = {}
    for chain in read_recording(folder):
        verdicts.setdefault((chain.problem.task, chain.problem.id), {})[int(chain.name)] = chain.verdict
    most = min(map(len, verdicts.values()))
    sizes = [2**k for k in range(most.bit_length())]
    return {
        str(n): sum(any(v[i] is Verdict.RIGHT for i in range(n)) for v in verdicts.values()) / len(verdicts)
        for n in sizes
    }


def followed(row: Mapping[str, Any]) -> tuple[int, int]:
    """How often a policy asked for its form in one sample, and how often it got it."""
    name = row["policy"].partition("(")[0]
    pauses, told, looks = ([e for e in row["log"] if e["kind"] == kind] for kind in ("pause", "inject", "look"))
    if name == "leap":
        asked = sum(OPEN in event["data"]["text"] for event in told)
        return asked, sum(event["data"]["match"] == CLOSE for event in pauses)
    first = {event["chain"]: event["kind"] for event in reversed(row["log"]) if event["kind"] in ("pause", "inject")}
    speaker = next((chain for chain, kind in first.items() if kind == "inject"), None)  # it plans, or writes notes
    ended = [event for event in pauses if event["data"]["reason"] == "token"]
    said = max((event["data"]["tokens"] for event in ended if event["chain"] == speaker), default=0)
    if name == "plan-first":
        plans = [look["data"]["text"] for look in looks]
        return 1, int(said > 0 and any(plan and boxed(plan) is None for plan in plans))
    answers = [event["data"]["tokens"] for event in ended if event["chain"] != speaker]
    return int(speaker is not None), int(said > max(answers, default=0))


def count(forms: dict[str, dict[str, float]], policy: str, asked: int, got: int, **more: float) -> None:
    """Add to what is known of a policy."""
    row = forms.setdefault(policy, {})
    for name, value in {"samples": 1, "asked": asked, "followed": got, **more}.items():
        row[name] = row.get(name, 0) + value


def do_collect(args: argparse.Namespace) -> None:
    """Make results.json and the figure from these."""
    rows = [{"how": how, **row} for how, samples in kept(args.results / SAMPLES).items() for row in rows_of(samples)]
    counts = json.loads((args.results / COUNTS).read_text("utf-8"))
    write_results(args, {"schema_version": 1, **counts, "rows": rows})
    draw([row for row in pooled(rows) if row["how"] == "replayed"], args.results / "figure.png")


def tables(results: Mapping[str, Any]) -> str:
    """What a vote could get, the forms, and each family."""
    rows = results["rows"]
    each = [table(rows, task) for task in dict.fromkeys(row["task"] for row in rows)]
    return "\n\n".join([ceiling(results["any_right"]), form_table(results["forms"], pooled(rows)), *each])


STAGES = {
    "record": do_record, "replay": do_replay, "prose": do_prose, "keep": do_keep, "collect": do_collect,
    "show": showing(tables),
}  # fmt: skip


# Showing


def ceiling(any_right: Mapping[str, float]) -> str:
    """What a vote could get if it always found the right chain."""
    told = ", ".join(f"{n}: {100 * share:.1f} %" for n, share in any_right.items())
    return f"Problems on which at least one of the first n chains is right, by n: {told}."


def form_table(forms: Mapping[str, Mapping[str, float]], rows: Sequence[Mapping[str, Any]]) -> str:
    """How often each form was followed; of batches what an item got and cost, since they answer several at once."""
    lines = ["| policy | what it asks for | asked | followed |", "| --- | --- | --- | --- |"]
    for policy, row in forms.items():
        share = f"{100 * row['followed'] / row['asked']:.0f} %" if row["asked"] else ""
        lines.append(f"| `{policy}` | {ASKED[policy.partition('(')[0]]} | {row['asked']:.0f} | {share} |")
    one = next(row for row in rows if (row["how"], row["policy"]) == ("prose", "full"))
    batches = forms[canonical(build(BATCH))]
    right, spent = 100 * batches["right"] / batches["asked"], batches["spent"] / batches["asked"]
    said = f"In batches of {PACK}, {right:.1f} % of the items are right for {spent:.0f} tokens each"
    alone = f"asked one by one, {100 * one['accuracy']:.1f} % for {one['spent']:.0f}"
    return "\n".join([*lines, "", f"{said}; {alone}."])


def table(rows: Sequence[Mapping[str, Any]], task: str) -> str:
    """What each policy got and spent, the cheapest first."""
    lines = [
        f"**{'All families' if task == ALL else task.partition('@')[0]}**", "",
        "| policy | how | n | accuracy (95 %) | against one chain, points (95 %) | spent | longest path |",
        "|" + " --- |" * 7,
    ]  # fmt: skip
    here = [row for row in rows if row["task"] == task]
    for row in sorted(here, key=lambda row: (row["how"] != "replayed", row["spent"])):
        gain = "" if row["policy"] == "full" else span(row, "delta_accuracy", "+")
        lines.append(
            f"| `{row['policy']}` | {row['how']} | {row['n']} | {span(row, 'accuracy')} | {gain} | "
            f"{row['spent']:.0f} | {row['steps']:.0f} |"
        )
    return "\n".join(lines)


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Accuracy over all families against all tokens and against the longest path."""
    data = alt.Data(values=[{**row, "policy": row["policy"].partition("(")[0]} for row in rows])
    y, color = alt.Y("accuracy:Q", scale=alt.Scale(zero=False), title="accuracy (95 %)"), alt.Color("policy:N")
    low, high = alt.Y("accuracy_low:Q"), alt.Y2("accuracy_high:Q")
    charts = []
    for field, title in (("spent", "tokens, all chains"), ("steps", "decode steps on the longest path")):
        x = alt.X(f"{field}:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=12))
        spans = alt.Chart(data).mark_rule(opacity=0.4).encode(x=x, y=low, y2=high, color=color)
        dots = alt.Chart(data).mark_point(filled=True, size=70).encode(x=x, y=y, color=color)
        charts.append((spans + dots).properties(width=380, height=280))
    alt.hconcat(*charts).save(str(path), ppi=110)


if __name__ == "__main__":
    main()
