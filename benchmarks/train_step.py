"""What a training step costs: rollouts against TRL's own generation, and the shaping's share of it.

    python benchmarks/train_step.py --json

The same step is trained in one run with rollouts from the local engine and with those of TRL's generation
(transformers `generate`), interleaved, on the same problems. Ratios of medians; ranges beside them:

    generation_ratio  time of TRL's rollouts / time of ours
    step_ratio        time of its whole step / time of ours, with the share that generation has of each
    shaping_share     time of the shaping / time of our whole step
"""

import argparse
import json
import statistics
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig

from satisfice.catalog import build
from satisfice.core.shaper import SHAPER
from satisfice.models.resolve import model_folder
from satisfice.tasks import load_task
from satisfice.training.rollout import DirectJudge
from satisfice.training.trl import ShapedTrainer
from satisfice.training.trl_source import LiveEngine, LocalSource, TrlSource

TEMPERATURE = 1.1


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shaper", default="laser-d(lower=32, upper=256, interval=32, fallback=128)")
    parser.add_argument("--task", default="chain-sum:hard")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3, help="steps measured of each, after one that warms up")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    measured = measure(args)
    print(json.dumps(measured, indent=1) if args.json else "\n".join(f"{k}: {v}" for k, v in measured.items()))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Interleave steps of both and take the medians."""
    task = load_task(args.task, split="train", limit=args.prompts * (args.rounds + 1))
    judge = DirectJudge([task])
    rows: dict[str, list[dict[str, float]]] = {"ours": [], "trl": []}
    with LocalSource(LiveEngine("pocket", rows=256, batch=128), judge, temperature=TEMPERATURE) as local:
        stock = TrlSource(local)
        for round_ in range(args.rounds + 1):
            problems = task.problems[round_ * args.prompts : (round_ + 1) * args.prompts]
            for name, source in (("ours", local), ("trl", stock)):
                row = step(args, source, problems)
                if round_:  # the first one warms up
                    rows[name].append(row)
    middle = {
        name: {key: statistics.median(row[key] for row in some) for key in some[0]} for name, some in rows.items()
    }
    ratios = [theirs["rollouts_s"] / ours["rollouts_s"] for theirs, ours in zip(rows["trl"], rows["ours"], strict=True)]
    return {
        "shaping_share": middle["ours"]["shaping_s"] / middle["ours"]["step_s"],
        "generation_ratio": middle["trl"]["rollouts_s"] / middle["ours"]["rollouts_s"],
        "generation_ratio_range": [min(ratios), max(ratios)],
        "generation_ratio_per_token": (middle["trl"]["rollouts_s"] / middle["trl"]["spent"])
        / (middle["ours"]["rollouts_s"] / middle["ours"]["spent"]),
        "step_ratio": middle["trl"]["step_s"] / middle["ours"]["step_s"],
        "generation_share": {name: row["rollouts_s"] / row["step_s"] for name, row in middle.items()},
        "seconds": middle,
        "rollouts": args.prompts * args.group,
        "rounds": args.rounds,
        "threads": args.threads,
        "shaper": args.shaper,
        "task": task.name,
        "torch": torch.__version__,
    }


class _Figures(TrainerCallback):
    """Keeps what a step logs."""

    def __init__(self) -> None:
        self.logs: dict[str, float] = {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.logs = self.logs | (logs or {})


def step(args: argparse.Namespace, source: Any, problems: Any) -> dict[str, float]:
    """One training step from the pocket model's weights, in seconds."""
    folder = model_folder("pocket")
    figures = _Figures()
    rows = args.prompts * args.group
    with tempfile.TemporaryDirectory() as out:
        config = GRPOConfig(
            output_dir=str(Path(out)), per_device_train_batch_size=16, gradient_accumulation_steps=rows // 16,
            num_generations=args.group, max_completion_length=args.max_tokens, max_steps=1, temperature=TEMPERATURE,
            learning_rate=1e-5, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[], logging_steps=1,
            remove_unused_columns=False, save_strategy="no", disable_tqdm=True, top_k=0, dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = ShapedTrainer(
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), args=config, source=source,
            shaper=build(args.shaper, SHAPER), problems=problems, monitor=problems[:1], callbacks=[figures],
            processing_class=AutoTokenizer.from_pretrained(folder),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        if isinstance(source, TrlSource):
            source.trainer = trainer
        trainer.train()
    logs = figures.logs
    return {
        "step_s": logs["step_time"], "rollouts_s": logs["time/rollouts_s"], "shaping_s": logs["time/shaping_s"],
        "spent": logs["rollouts/spent"],
    }  # fmt: skip


if __name__ == "__main__":
    main()
