"""The commands `record` and `replay`."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from satisfice.cli import complete
from satisfice.cli.common import Config, err_console, exit_on_failures, load, out_console, print_json, resumable
from satisfice.cli.options import POLICIES, Json, Model, Tasks, names, numbers, options_of, with_preset
from satisfice.recordings.record_plan import RecordPlan


@resumable
@options_of(RecordPlan, limit=200)
def record(
    out: Annotated[Path, typer.Option(help="Folder for the recording; the same command goes on where it stopped.")],
    model: Model = "pocket",
    tasks: Tasks = "chain-sum:hard",
    config: Config = None,
    as_json: Json = False,
    **settings: Any,
) -> None:
    """Record chains once, with trial answers and signals on the way, to try rules on them later without a model."""
    from satisfice.cli.progress import RunProgress
    from satisfice.recordings.record import record as record_all
    from satisfice.recordings.record_chain import FORKS
    from satisfice.tasks import load_tasks

    with err_console.status("Making the problems ..."):
        loaded = load_tasks(names(tasks), settings["split"], settings["limit"])
        plan = RecordPlan(model=model, tasks=loaded, **settings)
    # A prompt, a chain and its copies for each: a row that were evicted would be computed anew, in other last bits.
    rows = (2 + FORKS) * plan.concurrency
    engine = load(model, rows=rows, batch=min(rows, 2 * plan.concurrency)) if "://" not in model else load(model)
    with RunProgress(err_console, plan.size, "recording") as progress:
        held = asyncio.run(record_all(plan, engine, out, listener=progress.listener))
    size = sum(path.stat().st_size for path in out.iterdir())
    if as_json:
        print_json({"out": str(out), "chains": held, "bytes": size})
    else:
        out_console.print(f"{held} chains in {out}, {size / 1e6:.1f} MB", highlight=False, markup=False, soft_wrap=True)


@resumable
def replay(
    folder: Annotated[Path, typer.Argument(help="Folder of a recording.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; the same command goes on where it stopped.")],
    policies: Annotated[
        str,
        typer.Option(
            help=f"{POLICIES} Default: full, first-cue, and deer as a study recommends it for the recorded model.",
            autocompletion=complete.methods_of("policy", several=True),
        ),
    ] = "",
    tasks: Annotated[str, typer.Option(help="Default: all that were recorded.")] = "",
    seeds: Annotated[str, typer.Option(help="Default: all that were recorded.")] = "",
    limit: Annotated[int | None, typer.Option(help="Problems per task. Default: all.", min=1)] = None,
    margin: Annotated[float, typer.Option(help="Accuracy that a rule may lose, as a fraction.")] = 0.02,
    as_json: Json = False,
) -> None:
    """Try policies on recorded chains, without a model; what is written is as from bench, but for times."""
    from satisfice.cli.progress import RunProgress
    from satisfice.cli.show import result_tables
    from satisfice.measure.replay import replay as replay_all
    from satisfice.measure.replay import replay_plan
    from satisfice.recordings.recording import Recording
    from satisfice.recordings.replay import ReplayEngine
    from satisfice.report.page import draw

    with err_console.status(f"Reading {escape(str(folder))} ..."):
        recording = Recording(folder)
        policies = policies or f"full,first-cue,{with_preset('deer', recording.config['model'])}"
        plan = replay_plan(
            recording, policies, tasks=tuple(names(tasks)), seeds=numbers("seeds", seeds), limit=limit, margin=margin,
            allow_files=True,
        )  # fmt: skip
    with RunProgress(err_console, plan.size, "replaying", typed=plan.typed) as progress:
        results = asyncio.run(replay_all(plan, ReplayEngine(recording), out, listener=progress.listener, draw=draw))
    for note in progress.notes:
        err_console.print(note, highlight=False, markup=False)
    if as_json:
        print_json(results)
    else:
        for table in result_tables(results):
            out_console.print(table)
        out_console.print(f"Written to {out}", highlight=False, markup=False, soft_wrap=True)
    exit_on_failures(results)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run, from bench or replay.")],
    out: Annotated[Path, typer.Option(help="New folder for the files.")],
    to: Annotated[str, typer.Option(help="Whose form: lm-eval or inspect.")] = "lm-eval",
    as_json: Json = False,
) -> None:
    """Write a run as lm-evaluation-harness or Inspect writes its own, for the tools that read those."""
    from satisfice.measure.export import export as export_run

    files = export_run(run, out, to)
    if as_json:
        print_json({"out": str(out), "files": [str(file) for file in files]})
    else:
        out_console.print(f"{len(files)} files in {out}", highlight=False, markup=False, soft_wrap=True)
