"""What a step of training costs, by the model in `satisfice.training.cost`, held against measured steps at three sizes.

    python studies/training-cost/run.py

1. measure    steps of TRL with our engine for three models of the pocket reasoner's architecture (0.3, 1.8 and 7.7
              million parameters; the outer two have random weights). Rollouts get lengths that are set beforehand.
2. check      the coefficients come from two kinds of steps (equal lengths, a few long ones among short ones); the
              other kinds are foretold and compared.
3. foretell   what caps, segments, exits and beginnings change, for the pocket reasoner's lengths and for a heavy tail,
              at larger models and on several machines.

Seconds are processor seconds of one thread, so that what else the machine does hardly matters.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from satisfice.engines import load_engine
from satisfice.methods.shaping.grpo import Grpo
from satisfice.models.resolve import model_folder
from satisfice.tasks import load_task
from satisfice.training.cost import Machine, beginnings, fit, segmented, serial_group, step_cost, truncated
from satisfice.training.rollout import Ask, DirectJudge, Rollout, sample

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.stages import command, do_stages, showing, table, write_results

SIZES = {"small": (96, 2), "pocket": (192, 4), "large": (320, 6)}  # hidden size, layers
KINDS = {"equal 96": "fit", "few long": "fit", "equal 192": "foretold", "spread": "foretold", "heavy tail": "foretold"}


def lengths_of(kind: str, rows: int) -> list[int]:
    """The lengths that the rollouts of a step are to have, tokens."""
    rng = np.random.default_rng(len(kind))
    match kind.split()[0]:
        case "equal":
            return [int(kind.split()[1])] * rows
        case "few":
            return [24] * (rows - 2) + [280] * 2
        case "spread":
            return rng.integers(16, 240, rows).tolist()
        case _:
            return np.clip(np.exp(rng.normal(4.2, 0.8, rows)), 8, 400).astype(int).tolist()


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for."""
    parser = command(__doc__, Path(__file__).parent)
    parser.add_argument("--rows", type=int, default=32, help="rollouts a step")
    parser.add_argument("--repeats", type=int, default=2, help="steps of each kind, after one that warms up")
    parser.add_argument(
        "--problems", type=int, default=512, help="rollouts that the pocket reasoner's lengths come from"
    )
    do_stages(parser, {"measure": do_measure, "show": showing(tables)}, argv)


def do_measure(args: argparse.Namespace) -> None:
    """Measure, check, foretell, write."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    measured = {name: measure(name, args) for name in SIZES}
    machines = {name: fitted(rows) for name, rows in measured.items()}
    lengths = pocket_lengths(args.problems)
    results = {
        "schema_version": 1,
        "config": {"rows": args.rows, "repeats": args.repeats, "problems": args.problems, "sizes": SIZES},
        "machines": {name: asdict(machine) for name, machine in machines.items()},
        "check": {name: checked(machines[name], rows) for name, rows in measured.items()},
        "foretold": foretold(machines, lengths),
        "lengths": {"mean": float(np.mean(lengths)), "p50": float(np.median(lengths)), "max": int(max(lengths))},
    }
    write_results(args, results)


# Measure


def measure(size: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Steps of every kind, by turns."""
    from transformers import TrainerCallback

    from satisfice.training.trl_source import LiveEngine, LocalSource

    task = load_task("chain-sum:hard", split="train", limit=args.rows // 8)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as out:
        folder = folder_of(size, Path(made))
        judge = DirectJudge([task])
        with LocalSource(LiveEngine(str(folder), rows=64, batch=64), judge) as source, _set_lengths(source) as wanted:
            trainer = trainer_of(folder, source, task.problems, Path(out), args.rows, len(KINDS) * (args.repeats + 1))
            parameters = sum(p.numel() for p in trainer.model.parameters())

            class Watch(TrainerCallback):
                """Says what the next step's lengths are, and reads the clock."""

                def on_step_begin(self, args_: Any, state: Any, control: Any, **kwargs: Any) -> None:
                    self.kind = list(KINDS)[state.global_step % len(KINDS)]
                    wanted.lengths, wanted.seconds = lengths_of(self.kind, args.rows), 0.0
                    self.begin = time.process_time()

                def on_step_end(self, args_: Any, state: Any, control: Any, **kwargs: Any) -> None:
                    whole = time.process_time() - self.begin
                    row = {"kind": self.kind, "lengths": wanted.got, "generate": wanted.seconds}
                    rows.append({**row, "train": whole - wanted.seconds, "parameters": parameters})

            trainer.add_callback(Watch())
            trainer.train()
    print(f"measured {size}", flush=True)
    return rows[len(KINDS) :]  # the first of each kind warms up


class _Wanted:
    """What the next batch is to be like, and what it cost."""

    lengths: list[int]
    got: list[int]
    seconds: float


@contextmanager
def _set_lengths(source: Any) -> Iterator[_Wanted]:
    """Give every rollout the length that is wanted: its limit, and it cannot end before."""
    wanted, plain, engine = _Wanted(), source.sample, source.engine

    def with_lengths(asks: Sequence[Ask]) -> list[Rollout]:
        begin = time.process_time()
        ends, engine.end_ids = engine.end_ids, frozenset()
        try:
            some = [replace(ask, limit=limit) for ask, limit in zip(asks, wanted.lengths, strict=True)]
            got = plain(some)
        finally:
            engine.end_ids = ends
        wanted.got, wanted.seconds = [len(rollout.ids) for rollout in got], time.process_time() - begin
        return got

    source.sample = with_lengths
    yield wanted


def folder_of(size: str, made: Path) -> Path:
    """A model of this size: the bundled one, or one of its make with random weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    pocket = model_folder("pocket")
    hidden, layers = SIZES[size]
    config = AutoConfig.from_pretrained(pocket)
    if hidden == config.hidden_size:
        return pocket
    heads = hidden // (config.hidden_size // config.num_attention_heads)
    config.update(
        {
            "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": heads, "intermediate_size": config.intermediate_size * hidden // 192,
            "head_dim": hidden // heads,
        }
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(made)
    for path in pocket.iterdir():
        if path.suffix in {".json", ".jinja"} and not (made / path.name).exists():
            shutil.copy(path, made / path.name)
    return made


def trainer_of(folder: Path, source: Any, problems: Any, out: Path, rows: int, steps: int) -> Any:
    """The trainer of `satisfice train`, without checkpoints."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
    from trl.trainer.grpo_config import GRPOConfig

    from satisfice.training.trl import ShapedTrainer

    args = GRPOConfig(
        output_dir=str(out), per_device_train_batch_size=rows, gradient_accumulation_steps=1,
        num_generations=8, max_completion_length=512, max_steps=steps, learning_rate=1e-5, use_cpu=True, bf16=False,
        gradient_checkpointing=False, remove_unused_columns=False, save_strategy="no", report_to=[], disable_tqdm=True,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    trainer = ShapedTrainer(
        model, shaper=Grpo(kl=0), source=source, problems=problems, args=args, processing_class=tokenizer
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


# Check


def passes(lengths: Sequence[int]) -> int:
    """Tokens that pass through the model in training: the batch goes in one part, as wide as its longest rollout."""
    return max(lengths) * len(lengths)


def fitted(rows: Sequence[dict[str, Any]]) -> Machine:
    """The machine that the calibration steps show."""
    some = [row for row in rows if KINDS[row["kind"]] == "fit"]
    decoding = [(max(row["lengths"]), sum(row["lengths"]), row["generate"]) for row in some]
    return fit(decoding, [(passes(row["lengths"]), row["train"]) for row in some], slots=64)


def checked(machine: Machine, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was foretold of each kind and what came."""
    found = []
    for kind, role in KINDS.items():
        mine = [row for row in rows if row["kind"] == kind]
        steps = [step_cost(machine, row["lengths"], trained=passes(row["lengths"])) for row in mine]
        told = {"kind": kind, "role": role, "n": len(mine), "parameters": mine[0]["parameters"]}
        for part in ("generate", "train"):
            told[part] = float(np.median([row[part] for row in mine]))
            told[f"{part}_foretold"] = float(np.median([getattr(step, part) for step in steps]))
        found.append(told)
    return found


def pocket_lengths(n: int) -> list[int]:
    """Lengths of the pocket reasoner's own rollouts on both tiers."""
    tasks = [load_task(name, split="train", limit=n // 2) for name in ("chain-sum:easy", "chain-sum:hard")]

    async def run() -> list[Rollout]:
        async with load_engine("pocket", rows=128, batch=128) as engine:
            asks = [
                Ask(problem=p, group=g, limit=640, key=g) for g, p in enumerate(p for t in tasks for p in t.problems)
            ]
            return await sample(engine, asks, DirectJudge(tasks), temperature=1.1)

    found = [len(rollout.ids) for rollout in asyncio.run(run())]
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


# Foretell


def foretold(machines: dict[str, Machine], pocket: list[int]) -> list[dict[str, Any]]:
    """Rows of machine, lengths and way of sampling: what a rollout that came to its end costs.

    `bound` is the pocket reasoner's machine with decode steps twenty times as dear: one on which generation takes most
    of the time, as it does for large models, whose weights have to be read for every token.
    """
    tail = np.clip(np.exp(np.random.default_rng(1).normal(5.0, 1.0, 4096)), 8, 4000).astype(int).tolist()
    bound = replace(machines["pocket"], base=20 * machines["pocket"].base)
    rows = []
    for lengths, draw in (("pocket", pocket), ("heavy tail", tail)):
        for name, m in {**machines, "bound": bound, "bound, 8 of them": bound.scaled(1, 8, 0.9)}.items():
            rows += [{"machine": name, "lengths": lengths, **row} for row in ways(m, draw)]
    return rows


def ways(m: Machine, draw: list[int], groups: int = 16, size: int = 8, steps: int = 60) -> Iterator[dict[str, Any]]:
    """Ways of sampling, at one machine and distribution of lengths."""
    n, eighth = groups * size, -(-max(draw) // 8)
    batches = [[draw[(i * n + k) % len(draw)] for k in range(n)] for i in range(steps)]
    caps = {f"cap at p{100 * q:.0f}": int(np.quantile(draw, q)) for q in (0.5, 0.75, 0.9)}
    found = {
        "plain": [step_cost(m, batch) for batch in batches],
        "groups of 4": [step_cost(m, batch[: n // 2]) for batch in batches],
        "groups of 32": [
            step_cost(m, [*batches[i - 3], *batches[i - 2], *batches[i - 1], *batches[i]]) for i in range(steps)
        ],
        **{name: [step_cost(m, truncated(batch, cap)) for batch in batches] for name, cap in caps.items()},
        "segments, 4": segmented(m, draw, groups=groups, size=size, segment=2 * eighth, steps=steps),
        "segments, 8": segmented(m, draw, groups=groups, size=size, segment=eighth, steps=steps),
        "window, 8": segmented(m, draw, groups=groups, size=size, segment=eighth, steps=steps, whole=False),
        "exits (s-grpo)": [serial_group(m, batch[:groups], size - 1, 6, seed=i) for i, batch in enumerate(batches)],
        "beginnings (pppo)": [beginnings(m, batch, 0.15, 8, seed=i) for i, batch in enumerate(batches)],
    }
    for way, costs in found.items():
        kept = costs[len(costs) // 4 :]  # once what is on its way has settled
        total = sum(cost.total for cost in kept)
        yield {
            "way": way,
            "rollout_s": total / sum(cost.ended for cost in kept),
            "step_s": total / len(kept),
            "generate_share": sum(cost.generate for cost in kept) / total,
            "occupancy": float(np.mean([cost.occupancy for cost in kept])),
            "sampled": float(np.mean([cost.sampled for cost in kept])),
            "trained": float(np.mean([cost.trained for cost in kept])),
        }


WAYS = {
    "groups of 4 / of 32": ("groups of 4", "groups of 32"),
    "cap at the 90th / 50th percentile": ("cap at p90", "cap at p50"),
    "4 segments / 8 segments (`ulorl`)": ("segments, 4", "segments, 8"),
    "window of an eighth (`t-ppo`)": ("window, 8",),
    "seven exits from one chain (`s-grpo`)": ("exits (s-grpo)",),
    "eight continuations of each beginning (`pppo`)": ("beginnings (pppo)",),
}
PLACES = {
    "here": ("pocket", "pocket"), "heavy tail": ("pocket", "heavy tail"),
    "own lengths, bound, 8": ("bound, 8 of them", "pocket"),
    "heavy tail, bound, 8": ("bound, 8 of them", "heavy tail"),
}  # fmt: skip
"""What the page shows of `foretold`: ways of sampling in rows, machine and lengths in columns."""


def tables(results: dict[str, Any]) -> str:
    """What was foretold of each kind of step and came, and what ways of sampling cost relative to the plain one."""
    lines = []
    for size, rows in results["check"].items():
        for row in (row for row in rows if row["role"] == "foretold"):
            cells = [size, row["kind"]]
            for part in ("generate", "train"):
                here, there = row[part], row[f"{part}_foretold"]
                cells += [f"{here:.2f}", f"{there:.2f}", f"{100 * (there / here - 1):+.0f} %"]
            lines.append(cells)
    heads = ("size", "steps", "generation, s", "foretold", "", "training, s", "foretold", "")
    cost = {(row["machine"], row["lengths"], row["way"]): row["rollout_s"] for row in results["foretold"]}
    relative = [
        [name, *(" / ".join(f"{cost[*at, way] / cost[*at, 'plain']:.2f}" for way in ways) for at in PLACES.values())]
        for name, ways in WAYS.items()
    ]
    said = "Seconds for a rollout that came to its end, relative to plain sampling:"
    return "\n\n".join([table(heads, lines), said, table(("", *PLACES), relative)])


if __name__ == "__main__":
    main()
