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

from satisfice.cli.common import err_console, load, names, out_console, read_config
from satisfice.core.errors import MissingExtra

POCKET_RATE, RATE = 3e-4, 1e-6


def train(
    shaper: Annotated[str, typer.Option(help="How training feels length: id, id:value, id(field=value, ...).")],
    out: Annotated[Path, typer.Option(help="Folder for the result; the same command goes on where it stopped.")],
    model: Annotated[
        str, typer.Option(help="`pocket`, `smollm2`, a folder with a model, or MODEL+ADAPTER.")
    ] = "pocket",
    tasks: Annotated[str, typer.Option(help="Tasks, with commas: tiers, reasoning-gym families.")] = (
        "chain-sum:easy,chain-sum:hard"
    ),
    steps: Annotated[int, typer.Option(help="Batches of rollouts.", min=1)] = 100,
    limit: Annotated[int, typer.Option(help="Problems a task to train on.", min=1)] = 1000,
    prompts: Annotated[int, typer.Option(help="Problems a step.")] = 16,
    group: Annotated[int, typer.Option(help="Rollouts a problem.")] = 8,
    max_tokens: Annotated[int, typer.Option(help="Longest rollout, tokens; a method's caps may be smaller.")] = 512,
    temperature: Annotated[float | None, typer.Option(help="Of the rollouts. Default: the model's own.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help=f"Default: {RATE:g}; {POCKET_RATE:g} for the pocket reasoner.")
    ] = None,
    warmup: Annotated[int, typer.Option(help="Steps in which the rate rises.")] = 0,
    updates: Annotated[int, typer.Option(help="Updates of the weights a step.")] = 1,
    refill: Annotated[int, typer.Option(help="Times that groups which teach nothing are sampled again a step.")] = 0,
    part: Annotated[int, typer.Option(help="Rollouts in one forward pass: less takes less memory.")] = 16,
    bf16: Annotated[bool, typer.Option(help="Train in bfloat16 mixed precision.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    rollouts: Annotated[
        str, typer.Option(help="Who samples: local (our engine), or TRL by transformers or vllm.")
    ] = "local",
    rollout_dtype: Annotated[str, typer.Option(help="In which our engine samples: float32 or bfloat16.")] = "float32",
    lora: Annotated[
        int, typer.Option(help="Train an adapter of this rank, a few MB, in place of the weights.", min=0)
    ] = 0,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 10,
    keep_every: Annotated[
        int, typer.Option(help="Steps between models that are kept, to choose among; 0: the last alone.", min=0)
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the order of the problems and the rollouts.")] = 0,
    report_to: Annotated[str, typer.Option(help="none, trackio, wandb or tensorboard.")] = "none",
    eval_limit: Annotated[int, typer.Option(help="Problems a task for before and after; 0: none.", min=0)] = 200,
    config: Annotated[
        Path | None, typer.Option(help="TOML file whose keys are these flags.", callback=read_config, is_eager=True)
    ] = None,
) -> None:
    """Train a model to think no longer than it must; what comes out can be used by every other command."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from satisfice.catalog import build
    from satisfice.core.shaper import SHAPER
    from satisfice.tasks import load_task
    from satisfice.tasks.judge import Judge

    method = build(shaper, SHAPER, allow_files=True)
    with err_console.status("Loading the trainer and making the problems ..."):
        training, plans = _libraries()
        plan = plans.TrainPlan(
            model=model, tasks=tuple(load_task(name, split="train", limit=limit) for name in names(tasks)),
            shaper=method, steps=steps, prompts=prompts, group=group, max_tokens=max_tokens, updates=updates,
            temperature=_temperature(model) if temperature is None else temperature, warmup=warmup, part=part,
            learning_rate=(POCKET_RATE if model == "pocket" else RATE) if learning_rate is None else learning_rate,
            bf16=bf16, refill=refill, save_every=save_every, seed=seed, report_to=report_to, device=device,
            rollouts=rollouts, lora=lora, rollout_dtype=rollout_dtype, keep_every=keep_every,
        )  # fmt: skip
    with _Progress(err_console, training.Told, steps) as progress:
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


def _libraries() -> tuple[Any, Any]:
    try:
        from satisfice.training import plan, run
    except ModuleNotFoundError as error:
        if error.name in {"trl", "torch", "transformers", "accelerate", "datasets"}:
            raise MissingExtra("training", "train") from error
        raise
    return run, plan


def _temperature(model: str) -> float:
    """The model's own, which it will be used at."""
    import json

    from satisfice.core.profile import R1, profile_from
    from satisfice.engines.local.engine import model_folder

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
