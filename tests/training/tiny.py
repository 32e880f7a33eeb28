"""The smallest training that is one: a few short rollouts of the pocket model. As a script, one process of several."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GROUP = 4


@contextlib.contextmanager
def tiny(
    out: Path, spec: Any, *, rows: int = 8, parts: int = 1, steps: int = 1, limit: int = 64, processes: int = 1,
    stock: bool = False, **more: Any,
) -> Iterator[Any]:  # fmt: skip
    """A trainer of `rows` rollouts a step, in `parts` parts on each process; `spec` names a shaper or is one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig

    from satisfice.catalog import build
    from satisfice.core.shaper import SHAPER
    from satisfice.models.resolve import model_folder
    from satisfice.tasks import load_task
    from satisfice.training.rollout import DirectJudge
    from satisfice.training.trl import ShapedTrainer
    from satisfice.training.trl_source import LiveEngine, LocalSource, TrlSource

    torch.set_num_threads(1)
    folder = model_folder("pocket")
    task = load_task("chain-sum:easy", split="train", limit=12)
    settings = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", **more.pop("settings", {})}
    args = GRPOConfig(
        output_dir=str(out), per_device_train_batch_size=rows // parts // processes, num_generations=GROUP,
        gradient_accumulation_steps=parts, max_completion_length=limit, max_steps=steps, temperature=1.1,
        learning_rate=1e-3, lr_scheduler_type="constant", use_cpu=True, bf16=False, remove_unused_columns=False,
        gradient_checkpointing=False, logging_steps=1, seed=3, **settings,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    shaper = build(spec, SHAPER) if isinstance(spec, str) else spec
    with LocalSource(LiveEngine("pocket", rows=32, batch=32), DirectJudge([task]), temperature=1.1) as local:
        source = TrlSource(local) if stock else local
        trainer = ShapedTrainer(
            model, shaper=shaper, source=source, problems=task.problems, args=args,
            processing_class=AutoTokenizer.from_pretrained(folder), monitor=task.problems[:2], **more,
        )  # fmt: skip
        if isinstance(source, TrlSource):
            source.trainer = trainer
        yield trainer


def main() -> None:
    """Train one step and write what this process was given."""
    out, spec, processes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with tiny(out, spec, processes=processes, settings={"ddp_backend": "gloo"} if processes > 1 else {}) as trainer:
        trainer.train()
        told = {name: values.tolist() for name, values in trainer._batch.items()}
        weights = [
            float(p.detach().double().sum()) for p in trainer.accelerator.unwrap_model(trainer.model).parameters()
        ]
        norm = trainer.state.log_history[0]["grad_norm"]  # a first step of Adam forgets the size of the gradient
        row = {"batch": told, "state": dict(trainer.shaper_state), "weights": weights, "grad_norm": float(norm)}
        (out / f"process-{trainer.accelerator.process_index}.json").write_text(json.dumps(row))


if __name__ == "__main__":
    main()
