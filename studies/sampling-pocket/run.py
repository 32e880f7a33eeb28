"""Truncation filters on the pocket reasoner at equal risk: accuracy, thinking and variety against temperature.

    python studies/sampling-pocket/run.py

First each filter's parameter is set, on problems of the calibration split, so that all take the same mean risk over the
prefix tree of flawless worked solutions (`satisfice.methods.sampling.diversity_risk`). Then every filter thinks about
the same problems of the evaluation split at each temperature, several times a problem. Writes results.json after every
row, so that the same command goes on where it was ended, and figure.png.

Where there is no corpus, with another model, `--filters` says which filters run, with their settings as they stand.
"""

import argparse
import asyncio
import itertools
import json
import random
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import torch
from numpy.typing import NDArray

from satisfice import Session, load_engine, load_task, solve
from satisfice.answers import extract_strict
from satisfice.catalog import canonical, parse_sampler
from satisfice.core.engine import Engine
from satisfice.core.problem import Problem, Verdict
from satisfice.engines.local.engine import LocalEngine
from satisfice.made.traces import END, END_THINK, prompt_text, write_trace
from satisfice.methods.sampling import Filter, Truncation
from satisfice.methods.sampling.diversity_risk import GRIDS, at_risk, prefix_tree, recall_and_risk, tokens_needed
from satisfice.methods.stopping.full import Full
from satisfice.models.resolve import model_folder
from satisfice.tasks import Task

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.kept import span
from library.stages import command, do_stages, showing, table

HERE = Path(__file__).parent
TASK = "chain-sum:hard"
PROBLEMS, TRACES, VISITS = 20, 200, 20  # of the corpus, and how often it must pass a place that counts
GRAM = 4  # tokens of the pieces that distinctness counts


@dataclass(frozen=True)
class Places:
    """Where the corpus says what may follow."""

    logits: torch.Tensor  # [n, vocab]
    needed: NDArray[np.int64]  # [n]: k*, how many of the likeliest tokens hold all that may follow

    def risk(self, sampler: Truncation) -> float:
        """Mean risk of a filter with its temperature."""
        keep = sampler.process(self.logits) > -torch.inf
        return float(recall_and_risk(keep, self.logits, self.needed)[1].mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for."""
    parser = command(__doc__, HERE)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--tasks", default=TASK, help="with commas; all are counted together")
    parser.add_argument("--filters", default="", help="these as they stand, with commas, in place of an equal risk")
    parser.add_argument("--problems", type=int, default=100, help="a task")
    parser.add_argument("--seeds", type=int, default=2, help="chains a problem")
    parser.add_argument("--temperatures", default="0.6,1.1,1.5,2")
    parser.add_argument("--risks", default="0.02,0.1,0.5", help="at which the filters are compared by recall")
    parser.add_argument("--risk", type=float, default=0.1, help="at which they are run; one of the risks")
    parser.add_argument("--max-tokens", type=int, default=512, help="longest chain")
    parser.add_argument("--concurrency", type=int, default=128, help="chains at once")
    do_stages(parser, {"think": do_think, "show": showing(tables)}, argv)


def do_think(args: argparse.Namespace) -> None:
    """Set the parameters, and let every filter think at every temperature, or what is left of it."""
    torch.set_num_threads(1)
    engine = load_engine(args.model, rows=256, batch=128)
    assert isinstance(engine, LocalEngine)
    risks, temperatures = ([float(x) for x in text.split(",")] for text in (args.risks, args.temperatures))
    if args.risk not in risks:
        raise SystemExit(f"--risk {args.risk} must be one of --risks {args.risks}")
    config = {
        "task": args.tasks, "problems": args.problems, "seeds": args.seeds, "temperatures": temperatures,
        "risks": risks, "risk": args.risk, "max_tokens": args.max_tokens, "order": "temperature first",
        "weights": engine.describe()["weights"], **({"filters": args.filters} if args.filters else {}),
    }  # fmt: skip
    args.results.mkdir(parents=True, exist_ok=True)
    file = args.results / "results.json"
    done = json.loads(file.read_text("utf-8")) if file.exists() else {}
    rows = done["rows"] if done.get("config") == config else []  # of a run that was ended: it goes on from here
    methods: dict[str, Filter | None] = {"none": None}
    places, corpus = None, {}
    if args.filters:
        methods |= {canonical(method): method for method in parse_sampler(args.filters).filters}
    else:
        places = corpus_places(engine, load_task(args.tasks, split="calibration", limit=PROBLEMS))
        table = calibrate(places, risks)
        methods |= {canonical(r["method"]): r["method"] for r in table if r["target"] == args.risk and r["fits"]}
        told = [{**row, "method": canonical(row["method"])} for row in table]
        corpus = {"prefixes": len(places.needed), "filters": told}
    results = {"schema_version": 1, "config": config, "environment": engine.describe(), **corpus, "rows": rows}
    tasks = [load_task(name, limit=args.problems) for name in args.tasks.split(",")]

    async def think() -> None:
        slots = asyncio.Semaphore(args.concurrency)
        async with engine:
            for temperature, (name, method) in itertools.product(temperatures, methods.items()):
                if not any((row["filter"], row["temperature"]) == (name, temperature) for row in rows):
                    sampler = Truncation(after=(method,) if method else (), temperature=temperature)
                    chains = await attempts(engine, tasks, sampler, args.seeds, args.max_tokens, slots)
                    risk = places.risk(sampler) if places else None
                    told = {"filter": name, "temperature": temperature, "risk": risk}
                    rows.append({**told, **measure(chains, args.seeds)})
                    print(f"T={temperature:g}  {name:34s} {_line(rows[-1])}", flush=True)
                    file.write_text(json.dumps(results, indent=1) + "\n", "utf-8")

    asyncio.run(think())
    draw(rows, args.results / "figure.png")


# Setting the parameters


def corpus_places(engine: LocalEngine, task: Task) -> Places:
    """Every place that flawless solutions pass often enough to say what may follow: forks and computed digits alike."""
    rng = random.Random(0)
    sequences, starts = [], []
    for problem in task.problems:
        prompt = prompt_text(problem.question)
        for trace in (write_trace("chain-sum", problem.question, problem.answer, rng) for _ in range(TRACES)):
            if " no\n" not in trace.thinking:  # every check found what it wanted, so every number is right
                sequences.append(tuple(engine.encode(f"{prompt}{trace.thinking}{END_THINK}{trace.answer}{END}")))
                starts.append(len(engine.encode(prompt)))
    tree = prefix_tree(sequences, start=starts, least=1, visits=VISITS)
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_folder("pocket"), local_files_only=True, dtype=torch.float32)
    logits, follows, seen = [], [], set()
    with torch.inference_mode():
        for sequence, start in zip(sequences, starts, strict=True):
            ends = [n for n in range(start, len(sequence)) if sequence[:n] in tree and sequence[:n] not in seen]
            if ends:
                seen |= {sequence[:n] for n in ends}
                logits.append(model(torch.tensor([sequence[: max(ends)]])).logits[0][[n - 1 for n in ends]])
                follows += [tree[sequence[:n]] for n in ends]
    scores = torch.cat(logits)
    return Places(scores, tokens_needed(scores, follows))


def calibrate(places: Places, risks: Sequence[float]) -> list[dict[str, Any]]:
    """Each filter at each risk, at temperature 1."""
    rows = []
    for target, name in itertools.product(risks, GRIDS):
        point = at_risk(name, target, places.logits, places.needed)
        rows.append(
            {
                "target": target, "filter": name, "method": point.method, "value": point.value, "risk": point.risk,
                "recall": point.recall, "stability": point.stability, "kept": point.kept,
                "fits": abs(point.risk - target) <= 0.1 * target,
            }
        )  # fmt: skip
        print(f"risk {target:g}  {canonical(point.method):40s}  recall {point.recall:.3f}  risk {point.risk:.3f}")
    return rows


# Thinking


Chain = tuple[bool, tuple[int, ...], bool]
"""Whether it is right, the tokens that were sampled, and whether the limit ended it."""


async def attempts(
    engine: Engine, tasks: Sequence[Task], sampler: Truncation, seeds: int, limit: int, slots: asyncio.Semaphore
) -> list[Chain]:
    """Every problem with every seed, the seeds of a problem next to one another."""

    async def attempt(task: Task, problem: Problem, seed: int) -> Chain:
        session = Session(
            engine, problem, seed=seed, temperature=sampler.temperature, chain_limit=limit, sampler=sampler
        )
        async with slots:
            solution = await solve(Full(), session)
        if solution.error:
            raise RuntimeError(solution.error)
        answer = extract_strict(solution.text, engine.profile.answer_form)
        right = answer is not None and task.verify(problem, answer) is Verdict.RIGHT
        ids = tuple(i for span in solution.spans if span.kind == "sampled" for i in span.ids)
        return right, ids, solution.ended == "limit"

    jobs = [(task, problem, seed) for task in tasks for problem in task.problems for seed in range(seeds)]
    return await asyncio.gather(*(attempt(*job) for job in jobs))


def measure(chains: Sequence[Chain], seeds: int) -> dict[str, Any]:
    """Accuracy with its interval over problems, tokens, truncations, and how much the chains of a problem differ."""
    right = np.array([c[0] for c in chains], dtype=float).reshape(-1, seeds)
    low, high = _interval(right.mean(1))
    tokens = np.array([len(c[1]) for c in chains], dtype=float).reshape(-1, seeds)
    short, long = _interval(tokens.mean(1))
    parts = [chains[i : i + seeds] for i in range(0, len(chains), seeds)]
    return {
        "n": right.size, "accuracy": right.mean(), "accuracy_low": low, "accuracy_high": high,
        "solved_by_any": right.any(1).mean(), "tokens": tokens.mean(), "tokens_low": short, "tokens_high": long,
        "truncated_rate": float(np.mean([c[2] for c in chains])),
        "distinct": float(np.mean([distinct([c[1] for c in part]) for part in parts])),
    }  # fmt: skip


def distinct(chains: Sequence[Sequence[int]], gram: int = GRAM) -> float:
    """Share of the runs of `gram` tokens in the chains of one problem that differ: 1 / chains if all are the same."""
    grams = [tuple(ids[i : i + gram]) for ids in chains for i in range(len(ids) - gram + 1)]
    return len(set(grams)) / max(1, len(grams))


def _interval(means: NDArray[np.float64]) -> tuple[float, float]:
    """95 % of bootstrap means over problems; the seeds of a problem stay together."""
    rng = np.random.default_rng(0)
    draws = means[rng.integers(0, len(means), (2000, len(means)))].mean(1)
    return float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975))


# Showing


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Three panels against temperature: accuracy, tokens, distinctness."""
    short = [{**row, "rule": row["filter"].partition("(")[0]} for row in rows]
    color = alt.Color("rule:N", title=None, scale=alt.Scale(scheme="tableau10"))
    panels = []
    for field, title, scale in (
        ("accuracy", "accuracy", alt.Scale(domain=[0, 1])),
        ("tokens", "tokens a chain", alt.Scale(zero=True)),
        ("distinct", f"distinct {GRAM}-grams among the chains of a problem", alt.Scale(zero=False)),
    ):
        base = alt.Chart(alt.Data(values=short)).encode(x=alt.X("temperature:Q"), color=color)
        line = base.mark_line(point=True).encode(y=alt.Y(f"{field}:Q", title=title, scale=scale))
        panels.append(line.properties(width=260, height=260))
    alt.hconcat(*panels).save(str(path), ppi=150)


def tables(results: Mapping[str, Any]) -> str:
    """The rows, with the risk where it is known."""
    known = any(row["risk"] is not None for row in results["rows"])
    heads = [
        "T", "filter", *(["risk"] if known else []), "n", "accuracy (95 %)", "tokens (95 %)", "truncated", "distinct",
    ]  # fmt: skip
    lines = [
        [
            f"{row['temperature']:g}", _short(row["filter"]), *([f"{row['risk']:.3f}"] if known else []), row["n"],
            span(row, "accuracy"), f"{row['tokens']:.0f} ({row['tokens_low']:.0f} to {row['tokens_high']:.0f})",
            f"{100 * row['truncated_rate']:.1f} %", f"{row['distinct']:.3f}",
        ]
        for row in results["rows"]
    ]  # fmt: skip
    return table(heads, lines)


def _short(method: str) -> str:
    return re.sub(r"\d\.\d{5,}", lambda number: f"{float(number[0]):.4f}", method)


def _line(row: Mapping[str, Any]) -> str:
    return f"accuracy {row['accuracy']:.3f}  tokens {row['tokens']:.0f}  distinct {row['distinct']:.3f}"


if __name__ == "__main__":
    main()
