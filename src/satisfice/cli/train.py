"""The command `train`."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from satisfice.cli.common import Config, err_console, load, out_console
from satisfice.cli.options import Model, Tasks, names, options_of
from satisfice.core.errors import MissingExtra
from satisfice.training.plan import TrainPlan

POCKET_RATE, RATE = 3e-4, 1e-6


@options_of(TrainPlan, temperature=None, learning_rate=None)
def train(
    shaper: Annotated[str, typer.Option(help="How training feels length: id, id:value, id(field=value, ...).")],
    out: Annotated[Path, typer.Option(help="Folder for the result; the same command goes on where it stopped.")],
    model: Model = "pocket",
    tasks: Tasks = "chain-sum:easy,chain-sum:hard",
    limit: Annotated[int, typer.Option(help="Problems per task to train on.", min=1)] = 1000,
    eval_limit: Annotated[int, typer.Option(help="Problems per task for before and after; 0: none.", min=0)] = 200,
    config: Config = None,
    **settings: Any,
) -> None:
    """Train a model to think no longer than it must; what comes out can be used by every other command."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
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
        plan = TrainPlan(model=model, tasks=loaded, shaper=method, **settings)
    with _Progress(err_console, training.Told, plan.steps) as progress:
        run = training.train(plan, out, Judge(plan.tasks), told=progress.told)
    if os.environ.get("RANK", "0") != "0":
        return
    compared = _before_and_after(plan, out, eval_limit) if eval_limit else []
    from satisfice.training.model_card import model_card

    (out / "model" / "README.md").write_text(model_card(run, training.read_steps(out), compared), "utf-8")
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
    """The model's own, which it will be used at."""
    import json

    from satisfice.core.profile import R1, profile_from
    from satisfice.models.resolve import model_folder

    path = model_folder(model) / "profile.json"
    return (profile_from(json.loads(path.read_text("utf-8")), str(path)) if path.exists() else R1).temperature


def _before_and_after(plan: Any, out: Path, limit: int) -> list[dict[str, Any]]:
    """Both models on the same problems of the evaluation split, thinking until they stop by themselves."""
    from satisfice.cli.show import RunProgress
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


class _Progress:
    """A bar for the steps of a training, with what the last one showed."""

    def __init__(self, console: Console, told: type, steps: int) -> None:
        self.told = told(start=self._start, step=self._step, note=self._note)
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=console,
        )  # fmt: skip
        self._bar = self._progress.add_task("looking at the untrained model", total=steps)
        self._stack = contextlib.ExitStack()

    def _start(self, done: int, size: int) -> None:
        if done:
            self._console.print(f"Going on: {done} of {size} steps are done.", highlight=False)
        self._progress.update(self._bar, completed=done, total=size, description="training")

    def _step(self, row: dict[str, Any]) -> None:
        now = f"{row['rollouts/accuracy']:.0%} right, {row['rollouts/length']:.0f} tokens"
        self._progress.update(self._bar, advance=1, description=escape(now))

    def _note(self, text: str) -> None:
        self._console.print(text, style="yellow", highlight=False, markup=False)

    def __enter__(self) -> "_Progress":
        self._stack.enter_context(self._progress)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
