"""The command `train`."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from satisfice.cli import complete
from satisfice.cli.common import Config, err_console, load, out_console, print_json, resumable
from satisfice.cli.options import Json, Model, Tasks, names, options_of
from satisfice.cli.progress import Bar
from satisfice.core.errors import MissingExtra
from satisfice.training.plan import TrainPlan

POCKET_RATE, RATE = 3e-4, 1e-6


@resumable
@options_of(TrainPlan, temperature=None, learning_rate=None)
def train(
    shaper: Annotated[
        str,
        typer.Option(
            help="How training feels length: id, id:value, id(field=value, ...).",
            autocompletion=complete.methods_of("shaper"),
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the result; the same command goes on where it stopped.")],
    model: Model = "pocket",
    tasks: Tasks = "chain-sum:easy,chain-sum:hard",
    limit: Annotated[int, typer.Option(help="Problems per task to train on.", min=1)] = 1000,
    eval_limit: Annotated[int, typer.Option(help="Problems per task for before and after; 0: none.", min=0)] = 200,
    stop_when: Annotated[
        str | None,
        typer.Option(
            help="Stop on held-out problems: a condition such as 'net<-0.01 or gain<0.005' (fractions), or a halter.",
            autocompletion=complete.methods_of("halter"),
        ),
    ] = None,
    held_out: Annotated[int, typer.Option(help="Problems per task of the calibration split to look at.", min=1)] = 200,
    config: Config = None,
    as_json: Json = False,
    **settings: Any,
) -> None:
    """Train a model to think no longer than it must; what comes out can be used by every other command."""
    from satisfice.catalog import build
    from satisfice.core.shaper import SHAPER
    from satisfice.tasks import load_tasks
    from satisfice.tasks.judge import Judge

    method = build(shaper, SHAPER, allow_files=True)
    with err_console.status("Loading the trainer and making the problems ..."):
        training = _trainer()
        if settings["temperature"] is None:
            settings["temperature"] = _temperature(model)
        if settings["learning_rate"] is None:
            settings["learning_rate"] = POCKET_RATE if model == "pocket" else RATE
        loaded = load_tasks(names(tasks), split="train", limit=limit)
        if eval_limit:  # what the models are compared on afterwards must be there before
            load_tasks(names(tasks), limit=eval_limit)
        if stop_when is not None:
            from satisfice.training.halting import halter_of

            settings["stop_when"] = halter_of(stop_when, allow_files=True)
            settings["held_out"] = load_tasks(names(tasks), split="calibration", limit=held_out)
        plan = TrainPlan(model=model, tasks=loaded, shaper=method, **settings)
    with Bar(err_console, plan.steps, "looking at the untrained model") as bar:
        run = training.train(plan, out, Judge(plan.tasks), watcher=_listening(bar, training.Watcher))
    if os.environ.get("RANK", "0") != "0":
        return
    compared = _before_and_after(plan, out, eval_limit) if eval_limit else []
    from satisfice.training.model_card import model_card

    (out / "model" / "README.md").write_text(model_card(run, training.read_steps(out), compared), "utf-8")
    if as_json:
        print_json({"out": str(out), "model": plan.outcome(out), "compared": compared})
        return
    if compared:
        from satisfice.cli.show import compare_table

        out_console.print(compare_table(compared))
    out_console.print(
        f"Written to {out}: model (use it as --model {plan.outcome(out)}), model/README.md, steps.jsonl, train.json",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


def _trainer() -> Any:
    try:
        from satisfice.training import run
    except ModuleNotFoundError as error:
        if error.name in {"trl", "torch", "transformers", "accelerate", "datasets"}:
            raise MissingExtra("training", "train") from error
        raise
    return run


def _temperature(model: str) -> float:
    """Return the model's own temperature, at which it will be used."""
    import json

    from satisfice.core.profile import R1, profile_from
    from satisfice.models.resolve import model_folder

    path = model_folder(model) / "profile.json"
    return (profile_from(json.loads(path.read_text("utf-8")), str(path)) if path.exists() else R1).temperature


def _before_and_after(plan: Any, out: Path, limit: int) -> list[dict[str, Any]]:
    """Both models on the same problems of the evaluation split, thinking until they stop by themselves."""
    from satisfice.cli.progress import RunProgress
    from satisfice.measure.compare import compare_runs
    from satisfice.measure.plan import make_plan
    from satisfice.measure.run import run_bench
    from satisfice.report.page import draw

    for name, model in (("before", plan.model), ("after", plan.outcome(out))):
        bench = make_plan(model=model, tasks=[task.name for task in plan.tasks], policies="full", limit=limit)
        with RunProgress(err_console, bench.size) as progress:
            asyncio.run(run_bench(bench, load(model), out / f"eval-{name}", listener=progress.listener, draw=draw))
    rows: list[dict[str, Any]] = compare_runs(out / "eval-before", out / "eval-after")["rows"]
    return rows


def _listening(bar: Bar, watcher: type) -> Any:
    """Return what a training reports to: its steps move the bar, its notes are printed."""

    def step(row: dict[str, Any]) -> None:
        bar.step(f"{row['rollouts/accuracy']:.0%} right, {row['rollouts/length']:.0f} tokens")

    def start(done: int, size: int) -> None:
        bar.start(done, size, " steps")
        bar.describe("training")

    def note(text: str) -> None:
        bar.console.print(text, style="yellow", highlight=False, markup=False)

    return watcher(start=start, step=step, note=note)
