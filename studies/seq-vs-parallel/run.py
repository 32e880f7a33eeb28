"""One long search or many short guesses, at equal compute: models trained here on Countdown and on mini sudoku.

    python studies/seq-vs-parallel/run.py

After "To Backtrack or Not to Backtrack" (arXiv:2504.07052): for each puzzle a *backtracking* model learns the
depth-first search and a *direct* model the solution alone, of the same shape and from the same problems. At each token
budget B the backtracking model has one chain (unfinished is wrong), the direct one as many samples as the same FLOPs,
or the same sampled tokens, buy, any of which may be right: an oracle verifier, which is stated because majority voting
is not that.

Stages: train, sample, collect, show. What is done is kept under runs/seq-vs-parallel; a run that was stopped goes on.
"""

import argparse
import asyncio
import json
import math
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import torch
from puzzles import Puzzle, drills, puzzles
from scipy.stats import bootstrap

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.stages import command, do_stages, showing, table, write_results

HERE = Path(__file__).parent
FAMILIES, KINDS = ("countdown", "sudoku"), ("backtracking", "direct")
SHAPE: dict[str, Any] = {
    "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 1536, "tie_word_embeddings": True,
}  # fmt: skip
LEARNING_RATE, WEIGHT_DECAY = 4e-3, 0.02
EVAL_SEED, TRAIN_SEED = 1_000_003, 0
CHARS = "\n0123456789+-*/()= _abcdx"
SPECIAL = ("<|pad|>", "<|user|>", "<|assistant|>", "<think>", "</think>", "<|end|>")
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>{% endif %}"
)
WINDOW = 32  # batches' worth of examples that are put in order of length together
BUDGETS = (16, 32, 64, 128, 256, 512, 1024)


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for, in their order."""
    parser = command(__doc__, HERE)
    parser.add_argument("--out", type=Path, default=Path("runs/seq-vs-parallel"))
    parser.add_argument("--tokens", type=float, default=4.0, help="millions of tokens that each model is trained on")
    parser.add_argument("--batch", type=int, default=4096, help="tokens of a training step")
    parser.add_argument("--problems", type=int, default=2000, help="a puzzle, to evaluate on")
    parser.add_argument("--samples", type=int, default=64, help="of the direct model, a problem")
    parser.add_argument("--threads", type=int, default=2)
    do_stages(
        parser, {"train": do_train, "sample": do_sample, "collect": do_collect, "show": showing(tables)}, argv,
        prepare=lambda args: torch.set_num_threads(args.threads),
    )  # fmt: skip


# Problems and text


def held_out(family: str, n: int) -> list[Puzzle]:
    """The problems to evaluate on; training never sees their questions."""
    source = puzzles(family, EVAL_SEED)
    return [next(source) for _ in range(n)]


def examples(family: str, kind: str, avoid: set[str]) -> Iterator[tuple[str, str]]:
    """Prompts and completions to train on, without end."""
    for puzzle in drills(family, TRAIN_SEED):
        if puzzle.question not in avoid:
            trace = puzzle.trace if kind == "backtracking" else ""
            yield f"<|user|>{puzzle.question}<|assistant|><think>", f"{trace}</think>{puzzle.answer}<|end|>"


def make_tokenizer() -> Any:
    """A token for every character."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {piece: i for i, piece in enumerate((*SPECIAL, *CHARS))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[0]))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    raw.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=SPECIAL[0], eos_token=SPECIAL[5], additional_special_tokens=list(SPECIAL[1:5]),
        chat_template=TEMPLATE,
    )  # fmt: skip


# Training


def do_train(args: argparse.Namespace) -> None:
    """Train the four models that are not there yet."""
    for family in FAMILIES:
        for kind in KINDS:
            folder = args.out / f"{family}-{kind}"
            if not (folder / "model" / "model.safetensors").exists():
                avoid = {puzzle.question for puzzle in held_out(family, args.problems)}
                train(folder, family, kind, round(args.tokens * 1e6), args.batch, avoid)


def train(folder: Path, family: str, kind: str, tokens: int, batch: int, avoid: set[str]) -> None:
    """Train one model from nothing with transformers' trainer."""
    from torch.utils.data import SequentialSampler
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    from satisfice.made.optimizer import MuonWithAdamW

    tokenizer = make_tokenizer()
    batches = list(_batches(tokenizer, examples(family, kind, avoid), tokens, batch))
    torch.manual_seed(0)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SHAPE, **ids, attn_implementation="eager"))
    model.config.use_cache = False

    class InOrder(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
            return SequentialSampler(batches)

    cpu = not torch.cuda.is_available()
    trainer = InOrder(
        model=model, train_dataset=batches, data_collator=lambda items: items[0],
        args=TrainingArguments(
            output_dir=str(folder / "checkpoints"), use_cpu=cpu, bf16=True, per_device_train_batch_size=1,
            num_train_epochs=1, learning_rate=LEARNING_RATE, lr_scheduler_type="warmup_stable_decay",
            lr_scheduler_kwargs={
                "num_decay_steps": round(0.4 * len(batches)), "decay_type": "linear", "min_lr_ratio": 0.01,
            },
            warmup_steps=min(100, len(batches) // 10), max_grad_norm=1.0, logging_steps=50, save_steps=200,
            save_total_limit=2, report_to=[], remove_unused_columns=False, disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        optimizers=(MuonWithAdamW(model, LEARNING_RATE, WEIGHT_DECAY), None),
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=True if list((folder / "checkpoints").glob("checkpoint-*")) else None)
    model.config.use_cache = True
    model.generation_config = GenerationConfig(do_sample=True, **ids)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    profile = {
        "name": "puzzle", "cues": ["x"], "step": "\n", "close_thinking": "</think>", "skip_thinking": "</think>",
        "induce_answer": "</think>", "answer_end": ["\n"], "answer_form": "plain", "temperature": 1.0, "top_p": 1.0,
        "max_tokens": 1200, "answer_tokens": 24,
    }  # fmt: skip
    (folder / "model" / "profile.json").write_text(json.dumps(profile), "utf-8")


def _batches(
    tokenizer: Any, source: Iterator[tuple[str, str]], tokens: int, batch: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Padded batches of at most `batch` tokens, each of rows of about the same length; prompts carry no loss."""
    rng, seen, window, size = random.Random(0), 0, list[tuple[list[int], int]](), 0
    for prompt, completion in source:
        head, tail = (tokenizer.encode(text, add_special_tokens=False) for text in (prompt, completion))
        if len(head) + len(tail) > SHAPE["max_position_embeddings"]:
            continue
        window.append((head + tail, len(head)))
        size += len(window[-1][0])
        if size >= min(WINDOW * batch, tokens - seen):
            batches = list(_packed(sorted(window, key=lambda row: len(row[0])), batch))
            rng.shuffle(batches)
            for rows in batches:
                yield _padded(rows, tokenizer.pad_token_id)
            seen, window, size = seen + size, [], 0
            if seen >= tokens:
                return


def _packed(rows: Sequence[tuple[list[int], int]], batch: int) -> Iterator[list[tuple[list[int], int]]]:
    """Neighbours together, as many as fit when all are as long as the longest."""
    pack: list[tuple[list[int], int]] = []
    for row in rows:
        if pack and len(row[0]) * (len(pack) + 1) > batch:  # the new one is the longest
            yield pack
            pack = []
        pack.append(row)
    yield pack


def _padded(rows: Sequence[tuple[list[int], int]], pad: int) -> dict[str, torch.Tensor]:
    width = max(len(ids) for ids, _ in rows)
    ids, labels = torch.full((len(rows), width), pad), torch.full((len(rows), width), -100)
    for row, (one, begin) in enumerate(rows):
        ids[row, : len(one)] = torch.tensor(one)
        labels[row, begin : len(one)] = torch.tensor(one[begin:])
    return {"input_ids": ids, "labels": labels, "attention_mask": (labels != -100) | (ids != pad)}


# Sampling and counting


def do_sample(args: argparse.Namespace) -> None:
    """One sampled chain of the backtracking model and many samples of the direct one, for each problem."""
    for family in FAMILIES:
        problems = held_out(family, args.problems)
        for kind, count in zip(KINDS, (1, args.samples), strict=True):
            path = args.out / f"{family}-{kind}" / "samples.json"
            if not path.exists():
                rows = asyncio.run(_sample(args.out / f"{family}-{kind}" / "model", problems, count))
                path.write_text(json.dumps(rows), "utf-8")


async def _sample(model: Path, problems: Sequence[Puzzle], count: int) -> dict[str, Any]:
    """Of each problem and chain: whether it was right and how many tokens it took; and the tokens of the prompts."""
    from satisfice.core.problem import Problem
    from satisfice.core.session import Session
    from satisfice.engines.local.engine import LocalEngine

    engine = LocalEngine(str(model), rows=256, batch=128)
    gate = asyncio.Semaphore(64)

    async def one(number: int, puzzle: Puzzle) -> dict[str, Any]:
        problem = Problem(id=str(number), task=puzzle.family, question=puzzle.question, answer="")
        async with gate, Session(engine, problem) as session:
            tasks = [session.start(session.chain().finish()) for _ in range(count)]
            chains = [await task for task in tasks]
            return {
                "prompt": sum(len(span.ids) for span in chains[0].spans if span.kind == "prompt"),
                "right": [puzzle.right(chain.answer_text) and chain.ended != "limit" for chain in chains],
                "tokens": [chain.sampled for chain in chains],
            }

    async with engine:
        rows = await asyncio.gather(*(one(n, puzzle) for n, puzzle in enumerate(problems)))
    return {"parameters": engine.describe()["parameters"], "rows": rows}


def flops(parameters: int, prompt: int, new: int) -> float:
    """2 P a token and 4 L d for every position that its attention reads, from the first token of the prompt on."""
    attention = 4 * SHAPE["num_hidden_layers"] * SHAPE["num_attention_heads"] * SHAPE["head_dim"]
    length = prompt + new
    return 2.0 * parameters * length + attention * length * (length + 1) / 2


def any_of(right: int, samples: int, k: int) -> float:
    """Probability that one of k samples is right, from `right` of `samples`: 1 - C(n - c, k) / C(n, k)."""
    return 1.0 if samples - right < k else 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def some_of(right: int, samples: int, k: float) -> float:
    """The same for k that is no whole number: one sample more in that share of all cases."""
    low = math.floor(k)
    return (low + 1 - k) * any_of(right, samples, low) + (k - low) * any_of(right, samples, min(low + 1, samples))


def do_collect(args: argparse.Namespace) -> None:
    """Write results.json and figure.png."""
    rows, models = [], []
    for family in FAMILIES:
        found = {
            kind: json.loads((args.out / f"{family}-{kind}" / "samples.json").read_text("utf-8")) for kind in KINDS
        }
        long, short = (found[kind]["rows"] for kind in KINDS)
        p_long, p_short = (found[kind]["parameters"] for kind in KINDS)
        models += [
            {
                "puzzle": family, "model": kind, "parameters": told["parameters"],
                "mean_tokens": float(np.mean([t for row in told["rows"] for t in row["tokens"]])),
                "one_sample_solves": float(np.mean([right for row in told["rows"] for right in row["right"]])),
            }
            for kind, told in found.items()
        ]  # fmt: skip
        samples = len(short[0]["right"])
        prompt = np.mean([flops(p_short, row["prompt"], 0) for row in short])
        each = {
            "flops": np.mean([flops(p_short, row["prompt"], t) for row in short for t in row["tokens"]]) - prompt,
            "tokens": np.mean([t for row in short for t in row["tokens"]]),
        }
        for budget in BUDGETS:
            spent = {
                "flops": np.mean([flops(p_long, row["prompt"], min(row["tokens"][0], budget)) for row in long]),
                "tokens": np.mean([min(row["tokens"][0], budget) for row in long]),
            }
            one = np.array([float(row["right"][0] and row["tokens"][0] <= budget) for row in long])
            for equal, k in (
                ("flops", (spent["flops"] - prompt) / each["flops"]), ("tokens", spent["tokens"] / each["tokens"]),
            ):  # fmt: skip
                k = max(1.0, float(k))
                many = np.array([some_of(sum(row["right"]), samples, min(k, samples)) for row in short])
                low, high = bootstrap(
                    (many - one,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(0)
                ).confidence_interval
                rows.append(
                    {
                        "puzzle": family, "n": len(one), "budget": budget, "equal": equal, "k": k,
                        "enough_samples": k <= samples, **{name: float(value) for name, value in spent.items()},
                        "sequential": float(one.mean()), "parallel": float(many.mean()),
                        "difference": float((many - one).mean()), "low": float(low), "high": float(high),
                    }
                )  # fmt: skip
    write_results(args, {"schema_version": 1, "models": models, "rows": rows})
    shown = [row for row in rows if row["equal"] == "flops"]
    flat = [{**row, "way": way, "solved": row[way]} for row in shown for way in ("sequential", "parallel")]
    chart = alt.Chart(alt.Data(values=flat)).mark_line(point=True).encode(
        x=alt.X("flops:Q", scale=alt.Scale(type="log", nice=False, padding=20), axis=alt.Axis(format="~s", tickCount=4),
                title="FLOPs a problem"),
        y=alt.Y("solved:Q", title="solved"),
        color=alt.Color("way:N", title=None), column=alt.Column("puzzle:N", title=None),
    )  # fmt: skip
    chart.save(str(args.results / "figure.png"), scale_factor=2)


SHOWN = (64, 256, 1024)  # budgets on the page; results.json has all


def tables(results: dict[str, Any]) -> str:
    """Search against guesses at some budgets."""
    rows = {(row["puzzle"], row["budget"], row["equal"]): row for row in results["rows"]}
    lines = []
    for puzzle, budget in ((p, b) for p in FAMILIES for b in SHOWN):
        flop, token = (rows[puzzle, budget, equal] for equal in ("flops", "tokens"))
        lines.append(
            [puzzle.replace("countdown", "Countdown"), budget, f"{flop['tokens']:.0f}",
             f"{100 * flop['sequential']:.1f} %", f"{flop['k']:.1f}", f"{100 * flop['parallel']:.1f} %", _gap(flop),
             f"{token['k']:.1f}", _gap(token)]
        )  # fmt: skip
    heads = (
        "puzzle", "budget", "mean tokens of the search", "search solves", "k, equal FLOPs", "guesses solve",
        "difference", "k, equal tokens", "difference",
    )  # fmt: skip
    return table(heads, lines)


def _gap(row: dict[str, Any]) -> str:
    return f"{100 * row['difference']:+.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


if __name__ == "__main__":
    main()
