"""The command `train`."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from satisfice.cli import complete
from satisfice.cli.common import Config, err_console, load, out_console, print_json, resumable
from satisfice.cli.options import Json, Model, Tasks, names, options_of
from satisfice.cli.progress import Bar
from satisfice.core.errors import BadInput, MissingExtra
from satisfice.core.flags import settings as settings_of
from satisfice.training.data_plan import DataPlan
from satisfice.training.plan import TrainPlan
from satisfice.training.watcher import Watcher

POCKET_RATE, RATE = 3e-4, 1e-6
ROWS_RATE, PAIRS_RATE = 1e-5, 1e-6
POCKET_FACTOR = 30  # so much faster than a language model the pocket reasoner learns


@dataclass(frozen=True, kw_only=True)
class _Done:
    """What a training of either sort leaves for the comparison and the card."""

    tasks: Sequence[str]
    outcome: str  # what `--model` calls the trained model
    card: Callable[[list[dict[str, Any]]], str]  # from the rows of the comparison


@resumable
@options_of(DataPlan)
@options_of(TrainPlan, temperature=None, learning_rate=None)
def train(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the result; the same command goes on where it stopped.")],
    shaper: Annotated[
        str | None,
        typer.Option(
            help="Train by reinforcement: how training feels length, id, id:value, id(field=value, ...).",
            autocompletion=complete.methods_of("shaper"),
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Or train on data: a folder that `satisfice shorten` wrote.")
    ] = None,
    token_loss: Annotated[
        str | None,
        typer.Option(
            help="Of a training on rows: which tokens count, such as ent.",
            autocompletion=complete.methods_of("token loss"),
        ),
    ] = None,
    model: Model = "pocket",
    tasks: Tasks = "chain-sum:easy,chain-sum:hard",
    limit: Annotated[int, typer.Option(help="Problems per task to train on by reinforcement.", min=1)] = 1000,
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
    if (shaper is None) == (data is None):
        raise BadInput(
            "train: give exactly one of --shaper (train by reinforcement) and --data (train on rows or pairs that "
            "`satisfice shorten` wrote)."
        )
    chosen = _settings(context, settings, by_data=data is not None)
    if data is None and token_loss is not None:
        raise BadInput("token-loss is a setting of trainings with --data, and this is one with --shaper. Leave it out.")
    if token_loss is not None:
        from satisfice.catalog import build
        from satisfice.core.token_loss import TOKEN_LOSS

        chosen["token_loss"] = build(token_loss, TOKEN_LOSS, allow_files=True)
    if data is not None:
        done = _on_data(model, data, out, tasks if _typed(context, "tasks") else None, eval_limit, chosen)
    else:
        stop = None if stop_when is None else (stop_when, held_out)
        done = _by_shaper(model, str(shaper), out, tasks, limit, eval_limit, stop, chosen)
    if os.environ.get("RANK", "0") != "0":
        return
    compared = _before_and_after(model, done, out, eval_limit) if eval_limit else []
    (out / "model" / "README.md").write_text(done.card(compared), "utf-8")
    if as_json:
        print_json({"out": str(out), "model": done.outcome, "compared": compared})
        return
    if compared:
        from satisfice.cli.show import compare_table

        out_console.print(compare_table(compared))
    out_console.print(
        f"Written to {out}: model (use it as --model {done.outcome}), model/README.md, steps.jsonl, train.json",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


def _settings(context: typer.Context, given: dict[str, Any], *, by_data: bool) -> dict[str, Any]:
    """Return the settings of one sort of training; refuse those of the other that a person gave."""
    plans = (DataPlan, TrainPlan) if by_data else (TrainPlan, DataPlan)
    own, others = ({one.field: one.name for one in settings_of(plan)} for plan in plans)
    if by_data:
        others |= {"limit": "limit", "stop_when": "stop-when", "held_out": "held-out"}
    for field, name in others.items():
        if field not in own and _typed(context, field):
            raise BadInput(
                f"{name} is a setting of trainings with {'--shaper' if by_data else '--data'}, and this is one with "
                f"{'--data' if by_data else '--shaper'}. Leave it out."
            )
    return {field: given[field] for field in own}


def _typed(context: typer.Context, field: str) -> bool:
    """Return whether a person gave an option, on the command line or in a file."""
    source = context.get_parameter_source(field)  # by name: typer brings a click of its own
    return source is not None and source.name != "DEFAULT"


def _by_shaper(
    model: str, shaper: str, out: Path, tasks: str, limit: int, eval_limit: int, stop: tuple[str, int] | None,
    settings: dict[str, Any],
) -> _Done:  # fmt: skip
    from satisfice.catalog import build
    from satisfice.core.shaper import SHAPER
    from satisfice.tasks import load_tasks
    from satisfice.tasks.judge import Judge

    method = build(shaper, SHAPER, allow_files=True)
    with err_console.status("Loading the trainer and making the problems ..."):
        training = _trainer("run")
        if settings["temperature"] is None:
            settings["temperature"] = _temperature(model)
        if settings["learning_rate"] is None:
            settings["learning_rate"] = POCKET_RATE if model == "pocket" else RATE
        loaded = load_tasks(names(tasks), split="train", limit=limit)
        if eval_limit:  # what the models are compared on afterwards must be there before
            load_tasks(names(tasks), limit=eval_limit)
        if stop is not None:
            from satisfice.training.halting import halter_of

            settings["stop_when"] = halter_of(stop[0], allow_files=True)
            settings["held_out"] = load_tasks(names(tasks), split="calibration", limit=stop[1])
        plan = TrainPlan(model=model, tasks=loaded, shaper=method, **settings)
    with Bar(err_console, plan.steps, "looking at the untrained model") as bar:
        watcher = _listening(bar, _rollout_words)
        run = training.train(plan, out, Judge((*plan.tasks, *plan.held_out)), watcher=watcher)
    from satisfice.training.folder import read_steps
    from satisfice.training.model_card import model_card

    return _Done(
        tasks=[task.name for task in plan.tasks], outcome=plan.outcome(out),
        card=lambda compared: model_card(run, read_steps(out), compared),
    )  # fmt: skip


def _on_data(
    model: str, folder: Path, out: Path, tasks: str | None, eval_limit: int, settings: dict[str, Any]
) -> _Done:
    from satisfice.tasks import load_tasks
    from satisfice.training.rows import read_data

    data = read_data(folder)
    evaluated = names(tasks) if tasks is not None else list(data.header.get("evaluated", []))
    if eval_limit:
        load_tasks(evaluated, limit=eval_limit)
    if settings["learning_rate"] is None:
        rate = ROWS_RATE if settings["loss"] == "sft" else PAIRS_RATE
        settings["learning_rate"] = rate * POCKET_FACTOR if model == "pocket" else rate
    plan = DataPlan(model=model, data=data, **settings)
    with err_console.status("Loading the trainer ..."):
        training = _trainer("supervised")
    with Bar(err_console, plan.updates, "training") as bar:
        run = training.train_on_data(plan, out, watcher=_listening(bar, lambda row: f"loss {row['loss']:.3f}"))
    from satisfice.training.folder import read_steps
    from satisfice.training.model_card import data_card

    return _Done(
        tasks=evaluated, outcome=plan.outcome(out),
        card=lambda compared: data_card(run, data.header, read_steps(out), compared),
    )  # fmt: skip


def _trainer(module: str) -> Any:
    """Return a module of the trainer's, which takes seconds to load and packages of an extra."""
    import importlib

    try:
        return importlib.import_module(f"satisfice.training.{module}")
    except ModuleNotFoundError as error:
        if error.name in {"trl", "torch", "transformers", "accelerate", "datasets"}:
            raise MissingExtra("training", "train") from error
        raise


def _temperature(model: str) -> float:
    """Return the model's own temperature, at which it will be used."""
    import json

    from satisfice.core.profile import R1, profile_from
    from satisfice.models.resolve import model_folder

    path = model_folder(model) / "profile.json"
    return (profile_from(json.loads(path.read_text("utf-8")), str(path)) if path.exists() else R1).temperature


def _before_and_after(model: str, done: _Done, out: Path, limit: int) -> list[dict[str, Any]]:
    """Both models on the same problems of the evaluation split, thinking until they stop by themselves."""
    from satisfice.cli.progress import RunProgress
    from satisfice.measure.compare import compare_runs
    from satisfice.measure.plan import make_plan
    from satisfice.measure.run import run_bench
    from satisfice.report.page import draw

    for name, one in (("before", model), ("after", done.outcome)):
        bench = make_plan(model=one, tasks=list(done.tasks), policies="full", limit=limit)
        with RunProgress(err_console, bench.size) as progress:
            asyncio.run(run_bench(bench, load(one), out / f"eval-{name}", listener=progress.listener, draw=draw))
    rows: list[dict[str, Any]] = compare_runs(out / "eval-before", out / "eval-after")["rows"]
    return rows


def _listening(bar: Bar, words: Callable[[dict[str, Any]], str]) -> Watcher:
    """Return what a training reports to: its steps move the bar, its notes are printed."""

    def step(row: dict[str, Any]) -> None:
        bar.step(words(row))

    def start(done: int, size: int) -> None:
        bar.start(done, size, " steps")
        bar.describe("training")

    def note(text: str) -> None:
        bar.console.print(text, style="yellow", highlight=False, markup=False)

    return Watcher(start=start, step=step, note=note)


def _rollout_words(row: dict[str, Any]) -> str:
    return f"{row['rollouts/accuracy']:.0%} right, {row['rollouts/length']:.0f} tokens"
