"""The commands `record` and `replay`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from satisfice.cli.common import err_console, load, names, numbers, out_console


def record(
    out: Annotated[Path, typer.Option(help="Folder for the recording; the same command goes on where it stopped.")],
    model: Annotated[str, typer.Option(help="`pocket`, or a folder with a model.")] = "pocket",
    tasks: Annotated[str, typer.Option(help="Tasks, with commas: tiers, reasoning-gym families, .jsonl files.")] = (
        "chain-sum:hard"
    ),
    limit: Annotated[int | None, typer.Option(help="Problems a task. A claim needs 2,000.", min=1)] = 200,
    split: Annotated[str, typer.Option(help="eval, calibration, or train.")] = "eval",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas, or a range such as 0..15.")] = "0",
    chains: Annotated[int, typer.Option(help="Chains a problem and seed; a policy over n chains needs n.")] = 1,
    at: Annotated[str, typer.Option(help="Where copies are asked for their answer: cue, step, or both.")] = "cue",
    every: Annotated[int | None, typer.Option(help="And after every so many tokens of thinking.")] = None,
    ask: Annotated[
        list[str] | None, typer.Option(help="A further text to ask copies with, or a field of the profile with texts.")
    ] = None,
    trial_tokens: Annotated[int, typer.Option(help="Longest trial answer, tokens.")] = 32,
    top_logprobs: Annotated[int, typer.Option(help="Keep this many of the likeliest tokens at each position.")] = 0,
    hidden: Annotated[str, typer.Option(help="Keep hidden states of these layers at checkpoints, such as 2,-1.")] = "",
    hidden_first: Annotated[int, typer.Option(help="And of the first so many tokens of each chain.")] = 0,
    temperature: Annotated[float | None, typer.Option(help="Default: the model's own.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest chain, tokens. Default: the model's own.")] = None,
    concurrency: Annotated[int, typer.Option(help="Chains at once.")] = 48,
) -> None:
    """Record chains once, with trial answers and signals on the way, to try rules on them later without a model."""
    from satisfice.cli.show import RunProgress
    from satisfice.recordings.record import record as record_all
    from satisfice.recordings.record_chain import FORKS
    from satisfice.recordings.record_plan import RecordPlan
    from satisfice.tasks import load_task

    with err_console.status("Making the problems ..."):
        plan = RecordPlan(
            model=model, tasks=tuple(load_task(name, split=split, limit=limit) for name in names(tasks)),  # type: ignore[arg-type]
            limit=limit, split=split, seeds=numbers("seeds", seeds), chains=chains, at=tuple(names(at)), every=every,  # type: ignore[arg-type]
            asks=tuple(ask or ()), trial_tokens=trial_tokens, top_logprobs=top_logprobs,
            hidden=numbers("hidden", hidden), hidden_first=hidden_first, temperature=temperature, max_tokens=max_tokens,
            concurrency=concurrency,
        )  # fmt: skip
    # A prompt, a chain and its copies for each: a row that were evicted would be computed anew, in other last bits.
    rows = (2 + FORKS) * concurrency
    engine = load(model, rows=rows, batch=min(rows, 2 * concurrency)) if "://" not in model else load(model)
    with RunProgress(err_console, plan.size, "recording") as progress:
        held = asyncio.run(record_all(plan, engine, out, listener=progress.listener))
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    out_console.print(f"{held} chains in {out}, {size:.1f} MB", highlight=False, markup=False, soft_wrap=True)


def replay(
    folder: Annotated[Path, typer.Argument(help="Folder of a recording.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; the same command goes on where it stopped.")],
    policies: Annotated[
        str, typer.Option(help="Policies, with commas: id, id:value, id(field=value, ...).")
    ] = "full,first-cue,deer",
    tasks: Annotated[str, typer.Option(help="Default: all that were recorded.")] = "",
    seeds: Annotated[str, typer.Option(help="Default: all that were recorded.")] = "",
    limit: Annotated[int | None, typer.Option(help="Problems a task. Default: all.", min=1)] = None,
    margin: Annotated[float, typer.Option(help="Accuracy that a rule may lose, as a fraction.")] = 0.02,
) -> None:
    """Try policies on recorded chains, without a model; what is written is as from bench, but for times."""
    from satisfice.cli.show import RunProgress, result_tables
    from satisfice.measure.replay import replay as replay_all
    from satisfice.measure.replay import replay_plan
    from satisfice.recordings.recording import Recording
    from satisfice.recordings.replay import ReplayEngine
    from satisfice.report.page import draw

    with err_console.status(f"Reading {escape(str(folder))} ..."):
        recording = Recording(folder)
        plan = replay_plan(
            recording, policies, tasks=tuple(names(tasks)), seeds=numbers("seeds", seeds), limit=limit, margin=margin,
            allow_files=True,
        )  # fmt: skip
    with RunProgress(err_console, plan.size, "replaying") as progress:
        results = asyncio.run(replay_all(plan, ReplayEngine(recording), out, listener=progress.listener, draw=draw))
    for table in result_tables(results["rows"]):
        out_console.print(table)
    for note in progress.notes:
        err_console.print(note, highlight=False, markup=False)
    out_console.print(f"Written to {out}", highlight=False, markup=False, soft_wrap=True)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run, from bench or replay.")],
    out: Annotated[Path, typer.Option(help="New folder for the files.")],
    to: Annotated[str, typer.Option(help="Whose form: lm-eval or inspect.")] = "lm-eval",
) -> None:
    """Write a run as lm-evaluation-harness or Inspect writes its own, for the tools that read those."""
    from satisfice.measure.export import export as export_run

    files = export_run(run, out, to)
    out_console.print(f"{len(files)} files in {out}", highlight=False, markup=False, soft_wrap=True)
