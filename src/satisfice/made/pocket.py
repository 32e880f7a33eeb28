"""Make the pocket reasoner: `python -m satisfice.made.pocket --out DIR --minutes 55`.

All is written under `--out`: tokenizer, shards of examples, the plan, the trainer's checkpoints. The same command
after a kill goes on where it was. The finished model lands in `DIR/model`, and with `--export` also where you say.
"""

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

from satisfice.made.pocket_data import FIRST, Batches, train_tokenizer, write_shards
from satisfice.made.traces import END

SHAPE: dict[str, Any] = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
BATCH_TOKENS = 4096
DECAY = 0.45  # of the steps, at the end
WEIGHT_DECAY = 0.02
SHARD_EXAMPLES = 5_000
TOKENS_PER_EXAMPLE = 235  # a rough mean, for sizing the run
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
EXPORTED = ("model.safetensors", "config.json", "generation_config.json", *TOKENIZER)


def main() -> None:
    """Read the command line and make the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="working folder: data, checkpoints, model")
    parser.add_argument("--minutes", type=float, default=55.0, help="about how long to train on this machine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument(
        "--decay", type=float, default=DECAY, help="share of the steps, at the end, in which the rate falls"
    )
    parser.add_argument("--start-from", type=Path, help="continue from this model instead of from nothing")
    parser.add_argument("--export", type=Path, help="copy the finished model here")
    options = parser.parse_args()
    make_pocket(options)


def make_pocket(options: Any) -> None:
    """Run the stages that are not done yet."""
    import torch

    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    if not (options.out / "tokenizer.json").exists():
        if options.start_from:
            for name in TOKENIZER:
                shutil.copy(options.start_from / name, options.out / name)
        else:
            train_tokenizer(options.out, options.seed)
    plan = _plan(options)
    print("plan:", json.dumps(plan), flush=True)
    first = 0.0 if options.start_from else FIRST
    shards = write_shards(options.out, plan["examples"], plan["shards"], options.seed, first, options.threads)
    _train(options, plan, Batches(shards, BATCH_TOKENS, options.seed))
    if options.export:
        export(options.out / "model", options.export)


def export(model: Path, target: Path) -> None:
    """Copy what a model needs to be loaded, and nothing else: no optimiser state, no pickles."""
    target.mkdir(parents=True, exist_ok=True)
    for name in EXPORTED:
        if (model / name).exists():
            shutil.copy(model / name, target / name)


def _model(options: Any) -> Any:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    if options.start_from:
        return LlamaForCausalLM.from_pretrained(options.start_from, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(options.out)
    torch.manual_seed(options.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        bos_token_id=None,
        **SHAPE,
    )
    return LlamaForCausalLM(config)


def _plan(options: Any) -> dict[str, int]:
    """How many examples fit into the time, measured once and then kept, so that a resumed run is the same run."""
    path = options.out / "plan.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    speed = _tokens_per_second(_model(options))
    shards = max(1, round(speed * options.minutes * 60 / TOKENS_PER_EXAMPLE / SHARD_EXAMPLES))
    plan = {"tokens_per_second": round(speed), "shards": shards, "examples": shards * SHARD_EXAMPLES}
    path.write_text(json.dumps(plan))
    return plan


def is_bfloat16_quick(device: str) -> bool:
    """Return whether products in bfloat16 are quicker than in float32; CPUs that only imitate them are far slower."""
    import torch

    return device != "cpu" or bool(torch.cpu._is_avx512_bf16_supported())  # torch has no public name for it


def _tokens_per_second(model: Any, width: int = 256, steps: int = 8) -> float:
    import torch

    ids = torch.randint(0, model.config.vocab_size, (BATCH_TOKENS // width, width))
    halved = is_bfloat16_quick("cpu")
    for step in range(steps + 2):
        if step == 2:  # the first steps warm up
            start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=halved):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
    return steps * ids.numel() / (time.perf_counter() - start)


def _train(options: Any, plan: dict[str, int], batches: Batches) -> None:
    from torch.utils.data import SequentialSampler
    from transformers import GenerationConfig, Trainer, TrainingArguments

    from satisfice.made.optimizer import MuonWithAdamW

    class InOrder(Trainer):
        """A trainer that keeps the order of the shards: short problems come first."""

        def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
            return SequentialSampler(batches)

    model = _model(options)
    model.config.use_cache = False
    steps = len(batches)
    arguments = TrainingArguments(
        output_dir=str(options.out / "checkpoints"),
        use_cpu=True,
        bf16=is_bfloat16_quick("cpu"),
        per_device_train_batch_size=1,  # an item of the dataset is a whole batch
        num_train_epochs=1,
        learning_rate=options.learning_rate,
        lr_scheduler_type="warmup_stable_decay",  # unlike a cosine, it can be extended from any checkpoint
        lr_scheduler_kwargs={
            "num_decay_steps": round(steps * options.decay),
            "decay_type": "linear",
            "min_lr_ratio": 0.01,
        },
        warmup_steps=min(200, steps // 10),
        max_grad_norm=1.0,
        logging_steps=50,
        save_steps=max(50, round(plan["tokens_per_second"] * 240 / BATCH_TOKENS)),  # about every four minutes
        save_total_limit=2,
        seed=options.seed,
        data_seed=options.seed,
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    optimizer = MuonWithAdamW(model, options.learning_rate, WEIGHT_DECAY)
    trainer = InOrder(
        model=model, args=arguments, train_dataset=batches, data_collator=_only, optimizers=(optimizer, None)
    )
    found = sorted((options.out / "checkpoints").glob("checkpoint-*"))
    trainer.train(resume_from_checkpoint=True if found else None)
    model.config.use_cache = True
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.1,
        top_p=1.0,
        max_new_tokens=1024,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )
    model.save_pretrained(options.out / "model")
    for name in TOKENIZER:
        shutil.copy(options.out / name, options.out / "model" / name)


def _only(items: list[dict[str, Any]]) -> dict[str, Any]:
    return items[0]


if __name__ == "__main__":
    main()
