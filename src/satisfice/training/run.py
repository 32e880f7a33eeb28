"""Run a training: look first, train, keep what a killed run needs to go on, and leave a model that can be loaded."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig

from satisfice.core.engine import random_key
from satisfice.core.errors import BadInput, MissingExtra
from satisfice.core.fit import require
from satisfice.core.halter import Decision
from satisfice.core.problem import Problem, Verdict
from satisfice.core.shaper import Monitoring, caps_for, reads, start, with_request
from satisfice.core.steering import Steering
from satisfice.models.resolve import model_folder, weights_mark
from satisfice.tasks.judge import Judging
from satisfice.training.adapter import with_adapter
from satisfice.training.checkpoint import latest_checkpoint
from satisfice.training.folder import (
    MODEL,
    RUN,
    STEPS,
    forget_after,
    is_first_process,
    open_folder,
    processes_started,
    quiet,
    read_steps,
    save_model,
    write_json,
)
from satisfice.training.halting import LOOKS, HeldOut, Look, Watch, look_of
from satisfice.training.plan import TrainPlan
from satisfice.training.preflight import Alarms, check_hope, examine
from satisfice.training.rollout import Ask, AskGroup, Rollout, as_row, batch_of, column_names
from satisfice.training.source import check_trl, made_for
from satisfice.training.trl import ShapedTrainer
from satisfice.training.trl_hooks import LookingAhead
from satisfice.training.trl_source import LiveEngine, LocalSource, TrlSource
from satisfice.training.watcher import Watcher

LOOKED_AT = 24  # problems that the pre-flight samples
MEASURED = frozenset({"pass_rate", "reference_accuracy", "reference_length"})
"""Columns that are measured before the training, on every problem, when a method reads them."""


def train(plan: TrainPlan, out: Path, judge: Judging, *, watcher: Watcher | None = None) -> dict[str, Any]:
    """Do what is left of a training. The result is in `out`: `model`, `steps.jsonl`, `train.json`.

    The same call goes on after a kill, from the last complete checkpoint, and ends with the same weights (on one
    process and a CPU). Started by `accelerate launch` or `torchrun` it shares each batch among the processes.

    Raises:
        BadInput: `out` holds something else, or a training with another config. Nothing is written then.
        Unfit: the method needs what there is not, or the pre-flight sees that the training cannot work.
        CannotWrite: the folder is in use by another training.
    """
    watcher = watcher or Watcher()
    if plan.rollouts == "vllm" and importlib.util.find_spec("vllm") is None:
        raise MissingExtra("sampling with vLLM", "vllm")
    if plan.report_to != "none" and importlib.util.find_spec(plan.report_to) is None:
        raise BadInput(f"report-to: {plan.report_to} is not installed. Type: pip install {plan.report_to}")
    folder = model_folder(plan.model)
    config = plan.config(weights_mark(folder))
    with open_folder(out, config) as run:
        if (out / MODEL).is_dir():  # it comes there whole
            watcher.start(plan.steps, plan.steps)
            return run
        resumed = latest_checkpoint(out / "checkpoints")
        engine = LiveEngine(plan.model, rows=256, batch=128, device=plan.device, dtype=plan.rollout_dtype)
        with LocalSource(engine, judge, temperature=plan.temperature) as source:
            problems, looked = _prepared(plan, source, out, run, watcher)
            run["preflight"] = looked
            trainer = _trainer(plan, folder, source, problems, out, watcher)
            done = 0
            if resumed is not None:
                trainer.load_shaper_state(resumed)
                done = int(resumed.name.partition("-")[2]) // plan.updates
            held = _watched(plan, trainer, source, out, done, watcher)
            watcher.start(done, plan.steps)
            if trainer.is_world_process_zero():
                forget_after(out / STEPS, done)
            with quiet():
                if done < plan.steps and not (held and held.watch.decision.stop):
                    trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
                elif resumed is not None:  # it ended before it wrote its model; `train` would do a step more
                    trainer._load_from_checkpoint(str(resumed))
            if trainer.is_world_process_zero():
                run["wall_s"] = round(sum(row["step_time"] for row in read_steps(out)), 1)  # killed attempts left out
                run["state"] = dict(trainer.shaper_state)
                if held is not None:
                    run["halting"] = held.summary()
                run["environment"] = {
                    **engine.describe(),
                    "threads": torch.get_num_threads(),
                    "processes": processes_started(),
                }
                write_json(out / RUN, run)
                save_model(trainer, folder, out, base=plan.model, lora=plan.lora > 0)  # last: then all is done
    return run


# Before


def _prepared(
    plan: TrainPlan, source: LocalSource, out: Path, run: Mapping[str, Any], watcher: Watcher
) -> tuple[list[Problem], dict[str, Any]]:
    """Return the problems with the columns that the method reads, and what the pre-flight saw."""
    problems = plan.problems
    wanted = reads(plan.shaper) & MEASURED
    require(
        plan.shaper, "the trainer", made_for(plan.shaper) | column_names(problems, plan.shaper) | MEASURED, host="data"
    )
    check_trl(plan.shaper, steers=plan.rollouts == "local", processes=processes_started())
    if wanted - column_names(problems, plan.shaper):
        problems = _measured(plan, source, problems, out)
    looked = run.get("preflight")
    if looked is None:
        some = LOOKED_AT // 4 if isinstance(plan.shaper, Steering) else LOOKED_AT  # each of these may take many chains
        rollouts = _answers(plan, source, problems[:some], plan.group)
        named = column_names([rollout.problem for rollout in rollouts], plan.shaper)
        known = [as_row(rollout, named) for rollout in rollouts if rollout.verdict is not Verdict.UNKNOWN]
        if not known:
            raise BadInput("tasks: the scorer fails on every answer, so nothing can be learned from it.")
        batch = batch_of(known, {}, plan.rewards)
        batch = replace(batch, tokens={**batch.tokens, **_flat_signals(batch["mask"])})
        looked = examine(batch)
        looked["notes"] = check_hope(batch, plan.shaper, start(plan.shaper), plan.max_tokens)
        watcher.note(
            f"The untrained model: {looked['accuracy']:.0%} right, {looked['length_mean']:.0f} tokens "
            f"({looked['length_p10']:.0f} to {looked['length_p90']:.0f} for the middle 80 %)."
        )
        for note in looked["notes"]:
            watcher.note(note)
        if is_first_process():
            write_json(out / RUN, {**run, "preflight": looked})
    return problems, looked


def _flat_signals(mask: Any) -> dict[str, Any]:
    """Stand-ins for what costs a forward pass and says nothing about hope."""
    logprob = np.where(mask, -0.5, 0.0)
    return {
        "logprob": logprob, "reference_logprob": logprob, "entropy": np.where(mask, 0.5, 0.0),
        "value": np.zeros(mask.shape),
    }  # fmt: skip


def _answers(plan: TrainPlan, source: LocalSource, problems: Sequence[Problem], times: int) -> list[Rollout]:
    problems = [with_request(plan.shaper, start(plan.shaper), problem) for problem in problems]
    caps = caps_for(plan.shaper, start(plan.shaper), [problem.id for problem in problems])
    limits = [plan.max_tokens if caps is None else min(plan.max_tokens, int(caps[i])) for i in range(len(problems))]
    if isinstance(plan.shaper, Steering):
        groups = [
            AskGroup(
                problem=problem, group=g, size=times, limit=limits[g], seed=random_key(plan.seed, "before", problem.id)
            )
            for g, problem in enumerate(problems)
        ]
        return source.steer(groups, plan.shaper, start(plan.shaper))
    return source.sample(
        [
            Ask(problem=problem, group=g, limit=limit, key=random_key(plan.seed, "before", problem.id, n))
            for g, (problem, limit) in enumerate(zip(problems, limits, strict=True))
            for n in range(times)
        ]
    )


def _measured(plan: TrainPlan, source: LocalSource, problems: Sequence[Problem], out: Path) -> list[Problem]:
    """The problems with the untrained model's pass rate and mean length on each; kept in a file for a resumed run."""
    path = out / "reference.json"
    if not path.exists():
        times = max(plan.group, 16)
        rollouts = _answers(plan, source, problems, times)
        table = {}
        for g, problem in enumerate(problems):
            some = rollouts[g * times : (g + 1) * times]
            right = float(np.mean([rollout.verdict is Verdict.RIGHT for rollout in some]))
            length = float(np.mean([len(rollout.ids) for rollout in some]))
            table[problem.id] = {"pass_rate": right, "reference_accuracy": right, "reference_length": length}
        if is_first_process():
            write_json(path, table)
    else:
        table = json.loads(path.read_text("utf-8"))
    return [replace(problem, metadata={**problem.metadata, **table[problem.id]}) for problem in problems]


def _trainer(
    plan: TrainPlan, folder: Path, source: LocalSource, problems: list[Problem], out: Path, watcher: Watcher
) -> ShapedTrainer:
    processes = processes_started()
    parts = plan.parts(processes)
    rows = plan.prompts * plan.group // processes // plan.updates // parts
    with quiet():
        args = GRPOConfig(
            output_dir=str(out / "checkpoints"), max_steps=plan.steps * plan.updates, num_generations=plan.group,
            per_device_train_batch_size=rows, gradient_accumulation_steps=parts,
            steps_per_generation=parts * plan.updates, max_completion_length=plan.max_tokens,
            temperature=plan.temperature, learning_rate=plan.learning_rate, lr_scheduler_type="constant_with_warmup",
            warmup_steps=plan.warmup * plan.updates, use_cpu=plan.device == "cpu", bf16=plan.bf16,
            gradient_checkpointing=False, remove_unused_columns=False, logging_steps=1, save_strategy="steps",
            save_steps=plan.save_every * plan.updates, save_total_limit=2, seed=plan.seed, disable_tqdm=True,
            report_to=[] if plan.report_to == "none" else [plan.report_to], run_name=out.name,
            use_vllm=plan.rollouts == "vllm", vllm_mode="colocate", dataloader_pin_memory=False,
            ddp_backend="gloo" if processes > 1 and plan.device == "cpu" else None,
        )  # fmt: skip
        sampler = source if plan.rollouts == "local" else TrlSource(source)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        if plan.lora:
            model = with_adapter(model, plan.lora, plan.seed)
        watched = getattr(plan.shaper, "monitor_prompts", 0) if isinstance(plan.shaper, Monitoring) else 0
        trainer = ShapedTrainer(
            model, shaper=plan.shaper, source=sampler, problems=problems, args=args, refill=plan.refill,
            rewards=plan.rewards, processing_class=AutoTokenizer.from_pretrained(folder, local_files_only=True),
            monitor=problems[:watched], callbacks=[_Rows(out, watcher)],
        )  # fmt: skip
    if isinstance(sampler, TrlSource):
        sampler.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    if plan.keep_every:
        trainer.add_callback(_Keep(plan, trainer, folder, out))
    return trainer


def _watched(
    plan: TrainPlan, trainer: ShapedTrainer, source: LocalSource, out: Path, done: int, watcher: Watcher
) -> HeldOut | None:
    """Let a halter look at the held-out problems while the trainer trains; None where there is no halter."""
    if plan.stop_when is None:
        return None
    held_out = [with_request(plan.shaper, start(plan.shaper), p) for task in plan.held_out for p in task.problems]
    asks = [
        Ask(problem=p, group=g, limit=plan.max_tokens, key=random_key(plan.seed, "held out", p.id))
        for g, p in enumerate(held_out)
    ]

    def look() -> Look:
        source.update(trainer.accelerator.unwrap_model(trainer.model))
        return look_of(source.sample(asks))

    def stopped(step: int, decision: Decision) -> None:
        rows = read_steps(out)
        left = (plan.steps - step) * float(np.mean([row["rollouts/spent"] for row in rows])) if rows else 0.0
        watcher.note(
            f"Stopped after step {step} of {plan.steps}: {decision.why}. Looking took {held.watch.spent:,.0f} tokens; "
            f"the other steps would have taken about {left:,.0f}."
        )

    held = HeldOut(Watch(plan.stop_when, out / LOOKS, until=done, writes=is_first_process()))
    trainer.add_callback(LookingAhead(held, look, every=plan.stop_every, updates=plan.updates, told=stopped))
    return held


# While it runs


class _Rows(TrainerCallback):
    """Writes the figures of each step, and tells of alarms."""

    def __init__(self, out: Path, watcher: Watcher) -> None:
        self._path, self._watcher, self._alarms = out / STEPS, watcher, Alarms()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for row in read_steps(self._path.parent):  # of an earlier run: what alarms compare with
            self._alarms(row)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs or "rollouts/accuracy" not in logs:
            return
        row: dict[str, Any] = {"step": int(state.global_step)}
        row |= {name: value for name, value in logs.items() if isinstance(value, int | float)}
        row["alarms"] = self._alarms(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._watcher.step(row)
        for text in row["alarms"]:
            self._watcher.note(f"Step {row['step']}: {text}")


class _Keep(TrainerCallback):
    """Keeps models on the way, before the checkpoint of the same step: where that is, the model is."""

    def __init__(self, plan: TrainPlan, trainer: ShapedTrainer, folder: Path, out: Path) -> None:
        self._plan, self._trainer, self._folder, self._out = plan, trainer, folder, out

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step, rest = divmod(int(state.global_step), self._plan.updates)
        if rest or step % self._plan.keep_every or step >= self._plan.steps or not state.is_world_process_zero:
            return
        name = f"{MODEL}-{step}"
        if not (self._out / name).exists():
            save_model(self._trainer, self._folder, self._out, name, base=self._plan.model, lora=self._plan.lora > 0)
