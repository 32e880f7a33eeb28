"""Policies over several chains on the pocket reasoner: accuracy against all tokens and against the longest path.

    python studies/parallel-pocket/run.py

Sixteen chains a problem are recorded once (hours); policies that only watch are replayed on them, with the first n of
the sixteen, and the others run live on fewer problems. What is done is kept under runs/parallel-pocket, so a run that
was stopped goes on, and `--stage` does one part alone: record, replay, live, restart, collect, show.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import torch

from satisfice import load_engine, load_task
from satisfice.core.problem import Verdict
from satisfice.measure.plan import make_plan
from satisfice.measure.replay import replay, replay_plan
from satisfice.measure.restart import advise
from satisfice.measure.run import run_bench
from satisfice.methods.parallel._confidence import token_confidence, window_means
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import Recording, read_recording
from satisfice.recordings.replay import ReplayEngine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.kept import span
from library.stages import command, do_stages, showing, write_results

HERE = Path(__file__).parent
WINDOW = 32  # tokens; DeepConf's 2,048 are longer than any chain here
LOOK = 64  # tokens at which the predictor of failure looks
PROBLEMS = {"products:hard": 2000, "chain-sum:hard": 500}  # sums are nearly all right: there is little to gain
LIVE = {"products:hard": 300, "chain-sum:hard": 100}
COLUMNS = (
    "task", "policy", "how", "n", "accuracy", "accuracy_low", "accuracy_high", "kept", "spent", "dropped", "steps",
    "delta_accuracy", "delta_accuracy_low", "delta_accuracy_high", "saving", "saving_low", "saving_high",
    "no_answer_rate", "unknown_rate",
)  # fmt: skip


def watching(chains: int) -> list[str]:
    """Policies that only look at chains, at every size up to so many."""
    powers = [2**k for k in range(1, chains.bit_length())]
    sizes = [
        spec
        for n in powers
        for spec in (
            f"self-consistency(n={n})",
            f"first-finish(n={n})",
            f"first-finish(n={n}, k={max(2, n // 4)})",
            f"adaptive-consistency(n={n})",
            f"fsf-select(n={n}, measure=length)",
            rf'fsf-select(n={n}, judge=markers, markers="\\bno$")',
            f"deepconf(n={n}, mode=offline, eta=50, window={WINDOW})",
        )
    ]
    online = [
        f"deepconf(n={n}, warmup={n // 2}, eta={eta}, window={WINDOW})" for n in powers if n >= 8 for eta in (10, 90)
    ]
    return ["full", *sizes, *online]


def acting() -> list[str]:
    """Policies that put text in, read hidden states or fork on the way."""
    return [
        "full",
        *(f"self-consistency(n={n})" for n in (4, 8)),
        *(f"self-consistency(n={n}, stop=deer(threshold=0.976))" for n in (4, 8)),
        *(f"nothinking-vote(n={n})" for n in (8, 16)),
        *(f"st-bon(n={n})" for n in (4, 8)),
        *(f"latent-trajectory(n=4, signal={signal}, look_at=64, segment=16)" for signal in ("aligned", "cumulative")),
        "er-prm(n=8, width=4, tau=16, complete=64, max_steps=40)",
        "er-prm(n=8, width=4, tau=16, complete=64, max_steps=40, scorer=pocket-reward)",
        "cntp",
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for, in their order."""
    parser = command(__doc__, HERE)
    parser.add_argument("--out", type=Path, default=Path("runs/parallel-pocket"))
    parser.add_argument("--tasks", default=",".join(PROBLEMS))
    parser.add_argument("--problems", type=int, help=f"a task, recorded (default: {PROBLEMS})")
    parser.add_argument("--chains", type=int, default=16, help="a problem, recorded")
    parser.add_argument("--live", type=int, help=f"problems a task for policies that act (default: {LIVE})")
    stages = {name: partial(on_each, name) for name in ("record", "replay", "live", "restart")}
    do_stages(parser, {**stages, "collect": do_collect, "show": showing(tables)}, argv)


def on_each(stage: str, args: argparse.Namespace) -> None:
    """Do a stage on each task, two at once where it is no recording."""
    with ProcessPoolExecutor(1 if stage == "record" else 2, mp_context=get_context("spawn")) as pool:
        for told in pool.map(do, *zip(*((stage, args, task) for task in args.tasks.split(",")), strict=True)):
            print(told, flush=True)


def do(stage: str, args: argparse.Namespace, task: str) -> str:
    """One stage on one task, in a process of its own; what it was and how long it took."""
    torch.set_num_threads(1)
    begin = time.monotonic()
    {"record": do_record, "replay": do_replay, "live": do_live, "restart": do_restart}[stage](args, task)
    return f"{stage} {task}: {time.monotonic() - begin:.0f} s"


def folder(args: argparse.Namespace, kind: str, task: str) -> Path:
    """Where a part of the study is kept."""
    return Path(args.out) / kind / task.replace(":", "-")


def do_record(args: argparse.Namespace, task: str) -> None:
    """Record what is not yet recorded; every problem has its first chain before any has its second."""
    limit = args.problems or PROBLEMS[task]
    plan = RecordPlan(
        model="pocket", tasks=(load_task(task, limit=limit),), limit=limit, chains=args.chains, at=(), top_logprobs=20,
        concurrency=128,
    )  # fmt: skip
    asyncio.run(record(plan, load_engine("pocket", rows=256, batch=256), folder(args, "recordings", task)))


def do_replay(args: argparse.Namespace, task: str) -> None:
    """Replay every policy that only watches, on all problems all of whose chains are there."""
    recording = Recording(folder(args, "recordings", task))
    plan = replay_plan(recording, ",".join(watching(args.chains)))
    asyncio.run(replay(plan, ReplayEngine(recording), folder(args, "replayed", task)))


def do_live(args: argparse.Namespace, task: str) -> None:
    """Run the policies that act."""
    plan = make_plan(model="pocket", tasks=[task], policies=",".join(acting()), limit=args.live or LIVE[task])
    asyncio.run(run_bench(plan, load_engine("pocket", rows=256, batch=128), folder(args, "live", task)))


def do_restart(args: argparse.Namespace, task: str) -> None:
    """Ask whether dropping unsure chains early would pay, had every wrong end a verifier that notices it.

    The predictor flags a chain whose least sure window among the first tokens is below a line. The line is that which
    would save most on the even problems; the advice is on the first chain of the odd ones.
    """
    chains = list(_first_chains(folder(args, "recordings", task)))
    right = np.array([good for good, _, _ in chains])
    length = np.array([tokens for _, tokens, _ in chains], dtype=float)
    least = np.array([lowest for _, _, lowest in chains])
    even = np.arange(len(chains)) % 2 == 0
    seen = np.minimum(length, LOOK)

    def told(line: float, part: Any) -> Any:
        flagged = (least < line) & (length > LOOK)
        return advise(right[part], flagged[part], length[part], seen[part])

    lines = np.quantile(least[even], [0.02, 0.05, 0.1, 0.2, 0.3, 0.5])
    line = max(lines, key=lambda value: told(value, even).saving)
    advice = told(line, ~even)
    row = {
        "task": task, "n": int((~even).sum()), "look": LOOK, "line": float(line), "verdict": advice.verdict,
        "saving": advice.saving, "low": advice.low, "high": advice.high, **vars(advice.attempts),
        "affordable": advice.attempts.affordable,
    }  # fmt: skip
    path = folder(args, "restart", task).with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row, indent=1) + "\n", "utf-8")
    print(task, advice, flush=True)


def _first_chains(path: Path) -> Iterator[tuple[bool, int, float]]:
    """Of the first chain of each problem: whether it was right, its tokens, its least sure window up to the look."""
    for chain in read_recording(path):
        if chain.name == "0" and chain.tokens.top_logprobs is not None:
            windows = window_means(token_confidence(chain.tokens.top_logprobs[:LOOK]), WINDOW)
            yield chain.verdict == Verdict.RIGHT, len(chain.tokens.ids), float(windows.min())


def do_collect(args: argparse.Namespace) -> None:
    """Write results.json and figure.png from whatever is there."""
    rows: list[dict[str, Any]] = []
    restarts = []
    environment: dict[str, Any] = {}
    for task in args.tasks.split(","):
        for kind in ("replayed", "live"):
            path = folder(args, kind, task) / "results.json"
            if path.exists():
                found = json.loads(path.read_text("utf-8"))
                environment[f"{kind} {task}"] = found["config"] | {"policies": len(found["config"]["policies"])}
                rows += [{name: _short({**row, "how": kind}.get(name)) for name in COLUMNS} for row in found["rows"]]
        path = folder(args, "restart", task).with_suffix(".json")
        if path.exists():
            restarts.append(json.loads(path.read_text("utf-8")))
    results = {"schema_version": 1, "runs": environment, "rows": rows, "restart_or_wait": restarts}
    write_results(args, results)
    draw(rows, args.results / "figure.png")


def tables(results: Mapping[str, Any]) -> str:
    """Each task by itself."""
    rows = results["rows"]
    return "\n\n".join(table(rows, task) for task in dict.fromkeys(row["task"].partition("@")[0] for row in rows))


def table(rows: Sequence[Mapping[str, Any]], task: str) -> str:
    """What each policy got and spent on a task, the cheapest first."""
    lines = [
        f"**{task}**", "",
        "| policy | how | n | accuracy (95 %) | against one chain, points (95 %) | spent | longest path |",
        "|" + " --- |" * 7,
    ]  # fmt: skip
    here = [row for row in rows if row["task"].partition("@")[0] == task]
    for row in sorted(here, key=lambda row: (row["how"] == "live", row["spent"])):
        gain = "" if row["policy"] == "full" else span(row, "delta_accuracy", "+")
        cells = (f"`{row['policy']}`", row["how"], row["n"], span(row, "accuracy"), gain, f"{row['spent']:.0f}")
        lines.append("| " + " | ".join(map(str, cells)) + f" | {row['steps']:.0f} |")
    return "\n".join(lines)


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Accuracy against all tokens and against the longest path, a row of panels a task; what was replayed only."""
    seen = [{**row, "policy family": _family(row["policy"])} for row in rows if row["how"] == "replayed"]

    def panel(task: str, x: str, title: str) -> Any:
        base = alt.Chart(alt.Data(values=[row for row in seen if row["task"] == task])).encode(
            x=alt.X(f"{x}:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=12)),
            color=alt.Color("policy family:N", title=None, scale=alt.Scale(scheme="tableau10")),
        )
        low, high = (alt.Y(f"accuracy{end}:Q", title="accuracy", scale=alt.Scale(zero=False)) for end in ("_low", ""))
        bars = base.mark_rule(opacity=0.35).encode(y=low, y2="accuracy_high:Q")
        points = base.mark_line(point={"filled": True, "size": 45}, opacity=0.8).encode(y=high, order=f"{x}:Q")
        return (bars + points).properties(width=400, height=280, title=task.partition("@")[0])

    panels = [
        panel(task, "spent", "tokens, all chains") | panel(task, "steps", "decode steps on the longest path")
        for task in dict.fromkeys(row["task"] for row in seen)
    ]
    alt.vconcat(*panels).save(str(path), ppi=110)


def _family(policy: str) -> str:
    """What stays the same while n grows."""
    name, _, fields = policy.partition("(")
    told = [f for f in fields.rstrip(")").split(", ") if f.split("=")[0] in ("eta", "mode", "measure", "judge")]
    if name == "first-finish" and "k=" in fields:
        told = ["several"]
    return f"{name} ({', '.join(told)})" if told else name


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
