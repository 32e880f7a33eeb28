"""Train a model on rows or pairs by TRL, from a checkpoint where there is one, and leave a model that can be loaded."""

import importlib.util
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from satisfice.core.errors import BadInput
from satisfice.core.files import replace_file
from satisfice.core.token_loss import TokenLoss
from satisfice.models.resolve import model_folder, weights_mark
from satisfice.models.words import TokenizerWords
from satisfice.training.adapter import with_adapter
from satisfice.training.checkpoint import STATE_FILE, latest_checkpoint
from satisfice.training.data_plan import DataPlan
from satisfice.training.folder import (
    MODEL,
    RUN,
    STEPS,
    forget_after,
    is_first_process,
    open_folder,
    processes_started,
    quiet,
    save_model,
    write_json,
)
from satisfice.training.rows import OFF, Data
from satisfice.training.watcher import Watcher


class _Dpo(DPOTrainer):
    """TRL's trainer on pairs that are in tokens already: text that is encoded again may come out as other tokens."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


class _Kto(KTOTrainer):
    """The same for rows that are wanted or not."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


class _SimPo(CPOTrainer):
    """The same for pairs without a reference model."""

    def tokenize_row(self, feature: Any, model: Any = None) -> dict[str, Any]:
        row: dict[str, Any] = {}
        prompt = feature["prompt_ids"]
        for name in ("chosen", "rejected"):
            ids = feature[f"{name}_ids"]
            row[f"{name}_input_ids"] = [*prompt, *ids]
            row[f"{name}_attention_mask"] = [1] * (len(prompt) + len(ids))
            row[f"{name}_labels"] = [OFF] * len(prompt) + list(ids)
        return row | {"prompt_input_ids": list(prompt), "prompt_attention_mask": [1] * len(prompt)}


def train_on_data(plan: DataPlan, out: Path, *, watcher: Watcher | None = None) -> dict[str, Any]:
    """Do what is left of a training on data. The result is in `out`: `model`, `steps.jsonl`, `train.json`.

    The same call goes on after a kill, from the last complete checkpoint, and ends with the same weights (on one
    process and a CPU). Started by `accelerate launch` or `torchrun` it shares each update among the processes.

    Raises:
        BadInput: `out` holds something else, or a training with another config; the data is of another tokenizer, or
            longer than the model's context. Nothing is written then.
        CannotWrite: the folder is in use by another training, or cannot be written.
    """
    watcher = watcher or Watcher()
    if plan.report_to != "none" and importlib.util.find_spec(plan.report_to) is None:
        raise BadInput(f"report-to: {plan.report_to} is not installed. Type: pip install {plan.report_to}")
    folder = model_folder(plan.model)
    check_model(plan.data, plan.model, folder)
    weights = weights_mark(folder)
    with open_folder(out, plan.config(weights)) as run:
        if (out / MODEL).is_dir():  # it comes there whole
            watcher.start(plan.updates, plan.updates)
            return run
        if plan.data.header.get("weights") not in (None, weights):
            watcher.note(
                f"The data was written by other weights ({plan.data.header.get('model')}): rows are not this model's "
                "own."
            )
        resumed = latest_checkpoint(out / "checkpoints")
        done = 0 if resumed is None else int(resumed.name.partition("-")[2])
        if is_first_process():
            forget_after(out / STEPS, done)
        trainer = _trainer(plan, folder, out, watcher)
        watcher.start(done, plan.updates)
        began, used = time.monotonic(), time.process_time()
        with quiet():
            trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
        if trainer.is_world_process_zero():
            run["wall_s"] = round(run.get("wall_s", 0.0) + time.monotonic() - began, 1)  # killed attempts left out
            run["processor_s"] = round(run.get("processor_s", 0.0) + time.process_time() - used, 1)
            run["environment"] = {
                "torch": torch.__version__, "processes": processes_started(), "threads": torch.get_num_threads(),
            }  # fmt: skip
            write_json(out / RUN, run)
            save_model(trainer, folder, out, base=plan.model, lora=plan.lora > 0)  # last: where it is, all is done
    return run


def check_model(data: Data, model: str, folder: Path) -> None:
    """Refuse data whose tokens mean something else to a model, or that are longer than its context.

    Raises:
        BadInput: so it is; the message names a token or a row.
    """
    words, sample = TokenizerWords(folder), data.header.get("sample") or {"ids": [], "texts": []}
    for i, text in zip(sample["ids"], sample["texts"], strict=True):
        if words.piece(i).decode("utf-8", "replace") != text:
            raise BadInput(
                f"data: {data.folder} is of a model with another tokenizer than {model}: token {i} is {text!r} there "
                f"and {words.piece(i).decode('utf-8', 'replace')!r} here."
            )
    context = json.loads((folder / "config.json").read_text("utf-8")).get("max_position_embeddings")
    longest = max(map(length, data.rows))
    if context is not None and longest > context:
        raise BadInput(
            f"data: the longest row of {data.folder} has {longest} tokens, and {model} reads {context}. Make the data "
            "anew from chains that fit: nothing is cut off in silence."
        )


def length(row: Any) -> int:
    """Return the tokens of a row, or of the longer row of a pair with its prompt."""
    if "input_ids" in row:
        return len(row["input_ids"])
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))


def kto_rows(pairs: Sequence[Any], part: int) -> Iterator[dict[str, Any]]:
    """Yield what KTO learns from: every row with whether it is wanted, and another row's answer beside it.

    The KL term is estimated from mismatched pairs: within each batch of `part` rows every completion moves on by one.
    """
    flat = [
        {"prompt_ids": pair["prompt_ids"], "completion_ids": pair[f"{name}_ids"], "label": name == "chosen"}
        for pair in pairs
        for name in ("chosen", "rejected")
    ]
    for begin in range(0, len(flat), part):
        batch = flat[begin : begin + part]
        for i, row in enumerate(batch):
            yield {**row, "KL_completion_ids": batch[i - 1]["completion_ids"]}


def _trainer(plan: DataPlan, folder: Path, out: Path, watcher: Watcher) -> Any:
    processes = processes_started()
    rows, passes = plan.parts(processes)
    common: dict[str, Any] = {
        "output_dir": str(out / "checkpoints"), "num_train_epochs": plan.epochs, "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": passes, "learning_rate": plan.learning_rate, "lr_scheduler_type": "linear",
        "warmup_steps": plan.warmup, "use_cpu": plan.device == "cpu", "bf16": plan.bf16,
        "gradient_checkpointing": False, "logging_steps": 1, "save_strategy": "steps", "save_steps": plan.save_every,
        "save_total_limit": 2, "seed": plan.seed, "data_seed": plan.seed, "disable_tqdm": True,
        "report_to": [] if plan.report_to == "none" else [plan.report_to], "run_name": out.name,
        "dataloader_pin_memory": False, "max_length": None,
        "ddp_backend": "gloo" if processes > 1 and plan.device == "cpu" else None,
    }  # fmt: skip
    with quiet():
        torch.manual_seed(plan.seed)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        if plan.lora:
            model = with_adapter(model, plan.lora, plan.seed)
        words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        more: dict[str, Any] = {"processing_class": words, "callbacks": [_Rows(out, watcher)]}
        match plan.loss:
            case "sft":
                if plan.token_loss is not None:
                    counter = _Updates()
                    more["callbacks"].append(counter)
                    more["compute_loss_func"] = weighed_loss(plan.token_loss, lambda: counter.done)
                data = [{name: row[name] for name in ("input_ids", "labels")} for row in plan.data.rows]
                trainer: Any = SFTTrainer(
                    model, args=SFTConfig(**common), train_dataset=Dataset.from_list(data), **more
                )
            case "dpo" | "dpo-norm":
                kind = "sigmoid" if plan.loss == "dpo" else "sigmoid_norm"
                args: Any = DPOConfig(**common, beta=plan.strength, loss_type=[kind])
                trainer = _Dpo(model, args=args, train_dataset=Dataset.from_list(_tokens(plan.data)), **more)
            case "kto":
                args = KTOConfig(**common, beta=plan.strength)
                data = list(kto_rows(plan.data.rows, rows))
                trainer = _Kto(model, args=args, train_dataset=Dataset.from_list(data), **more)
            case "simpo":
                args = CPOConfig(**common, beta=plan.strength, loss_type="simpo", cpo_alpha=0.0, simpo_gamma=plan.gamma)
                data = [{**row, **dict.fromkeys(("prompt", "chosen", "rejected"), "")} for row in _tokens(plan.data)]
                trainer = _SimPo(model, args=args, train_dataset=Dataset.from_list(data), **more)
    trainer.remove_callback(PrinterCallback)
    return trainer


def weighed_loss(method: TokenLoss, step: Callable[[], int]) -> Callable[..., Tensor]:
    """Return a loss for TRL: cross-entropy of each token times what the method says that it weighs.

    The mean divides by all tokens that are trained on, those that weigh nothing included, so that leaving tokens out
    makes a step smaller and not the rest louder.
    """

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        on = labels[:, 1:] != OFF
        token = labels[:, 1:][on]
        logprobs = outputs.logits[:, :-1][on].float().log_softmax(-1)
        chosen = logprobs.gather(-1, token[:, None])[:, 0]
        with torch.no_grad():
            p = logprobs.exp()
            error = (p.square().sum(-1) - 2 * chosen.exp() + 1).clamp(min=0).sqrt()
            weight = torch.from_numpy(method(error.double().cpu().numpy(), step())).to(chosen)
        n = len(token) if num_items_in_batch is None else num_items_in_batch
        total: Tensor = -(weight * chosen).sum() / n
        return total

    return loss


class _Updates(TrainerCallback):
    """Counts the updates that were made, those before a resume included."""

    done = 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.done = int(state.global_step)


def _tokens(data: Data) -> list[dict[str, Any]]:
    return [{name: row[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids")} for row in data.rows]


class _Rows(TrainerCallback):
    """Writes the figures of each update, and marks a checkpoint as complete once it is."""

    def __init__(self, out: Path, watcher: Watcher) -> None:
        self._path, self._watcher = out / STEPS, watcher

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        row: dict[str, Any] = {"step": int(state.global_step)}
        row |= {name: value for name, value in logs.items() if isinstance(value, int | float)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._watcher.step(row)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            replace_file(folder / STATE_FILE, json.dumps({"step": int(state.global_step)}))
