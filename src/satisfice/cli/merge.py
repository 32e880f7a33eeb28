"""The command `merge`."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from satisfice.cli import complete
from satisfice.cli.common import Config, err_console, load, out_console, print_json, resumable
from satisfice.cli.options import Json, Tasks, names
from satisfice.core.errors import MissingExtra


@resumable
def merge(
    models: Annotated[list[str], typer.Argument(help="Models to merge with the base: folders, or MODEL+ADAPTER.")],
    base: Annotated[str, typer.Option(help="The model that they were made from, or the one to start from.")],
    out: Annotated[Path, typer.Option(help="Folder for the merged model; of a sweep for all of them and the results.")],
    how: Annotated[
        str,
        typer.Option(
            help="How they are merged, id or id(field=value, ...). `satisfice methods` lists them.",
            autocompletion=complete.methods_of("merge"),
        ),
    ] = "task-arithmetic",
    sweep: Annotated[
        str | None, typer.Option(help="Strengths to try, LOW:HIGH or with commas: each is benched beside the base.")
    ] = None,
    points: Annotated[int, typer.Option(help="How many strengths between LOW and HIGH.", min=2)] = 4,
    max_loss: Annotated[
        float, typer.Option(help="Accuracy (net) that a swept model may lose against the base, on every task.", min=0.0)
    ] = 0.02,
    tasks: Tasks = "chain-sum:easy,chain-sum:hard",
    limit: Annotated[int, typer.Option(help="Problems per task for a sweep. A claim needs 2,000.", min=1)] = 400,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Merge models of one make into one, at one strength or at several that are measured."""
    from satisfice.catalog import build
    from satisfice.core.merge import MERGE
    from satisfice.tasks import load_tasks
    from satisfice.training.sweep import at_strength, strengths

    method = build(how, MERGE, allow_files=True)
    wanted = [] if sweep is None else strengths(sweep, points)
    methods = [at_strength(method, one) for one in wanted] or [method]
    if sweep is not None:
        load_tasks(names(tasks), limit=limit)
    merging = _merging()
    with err_console.status("Checking the models ..."):
        first, *others = merging.models([base, *models])
        notes = merging.check(first, others)
        apart = merging.distances(first, others)
    for note in notes:
        err_console.print(note, style="yellow", highlight=False, markup=False)
    for name, distance in apart.items():
        err_console.print(
            f"{name} is {distance:.1%} of the base's weights away from it.", highlight=False, markup=False
        )
    folders = [out / f"{method.card.id}-{one:g}" for one in wanted] or [out]
    for one, folder in zip(methods, folders, strict=True):
        with err_console.status(f"Merging into {folder} ..."):
            merging.merge(one, first, others, folder)
    if sweep is None:
        if as_json:
            print_json({"model": str(out), "distances": apart, "notes": notes})
        else:
            out_console.print(
                f"Written to {out}; use it as --model {out}", highlight=False, markup=False, soft_wrap=True
            )
        return
    found = _measured(base, [str(folder) for folder in folders], out, names(tasks), limit, max_loss)
    if as_json:
        print_json({"distances": apart, "notes": notes, **found})


def _measured(base: str, merged: list[str], out: Path, tasks: list[str], limit: int, max_loss: float) -> dict[str, Any]:
    """Bench the base and the merged models on the same problems, print what came out, and return it."""
    from satisfice.cli.progress import RunProgress
    from satisfice.cli.show import result_tables
    from satisfice.core.files import replace_file
    from satisfice.measure.plan import make_plan
    from satisfice.measure.run import run_bench
    from satisfice.measure.store import read_samples
    from satisfice.report.page import draw
    from satisfice.training.sweep import on_frontier, promised

    plan = make_plan(model=",".join([base, *merged]), tasks=tasks, policies="full", limit=limit, margin=max_loss)
    engines = {name: load(name) for name in plan.models}
    with RunProgress(err_console, plan.size, typed=plan.typed) as progress:
        results = asyncio.run(run_bench(plan, engines, out / "sweep", listener=progress.listener, draw=draw))
    for table in result_tables(results):
        err_console.print(table)
    tested = promised(read_samples(out / "sweep"), base, merged, most=max_loss)
    passed = [one.setting for one in tested if one.passed]
    found: dict[str, Any] = {
        "max_loss": max_loss, "confidence": 0.95, "frontier": on_frontier(results["rows"]),
        "tested": [vars(one) for one in tested], "promised": passed[-1] if passed else None,
    }  # fmt: skip
    replace_file(out / "sweep.json", json.dumps(found, indent=1) + "\n")
    told = (
        f"{found['promised']} loses at most {max_loss:.1%} of the problems of each task (net) against {base}, with "
        "confidence 95 %."
        if passed
        else f"No strength can be promised to lose at most {max_loss:.1%}: the first, {tested[0].setting}, may lose "
        f"{tested[0].bound:.1%}. Try smaller ones, or more problems (--limit)."
    )
    err_console.print(told, highlight=False, markup=False)
    err_console.print(
        f"On the frontier: {', '.join(found['frontier'])}. Written to {out}: sweep/report.html, sweep.json",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    return found


def _merging() -> Any:
    try:
        from satisfice.training import merging
    except ModuleNotFoundError as error:
        if error.name in {"torch", "transformers", "safetensors"}:
            raise MissingExtra("merging", "local") from error
        raise
    return merging
