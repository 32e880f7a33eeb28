"""Truncation filters on the pocket reasoner at equal risk: accuracy, thinking and variety against temperature.

    python studies/sampling-pocket/run.py

First each filter's parameter is set, on problems of the calibration split, so that all take the same mean risk over the
prefix tree of flawless worked solutions (`satisfice.sampling.diversity_risk`). Then every filter thinks about the same
problems of the evaluation split at each temperature, several times a problem. Writes results.json and figure.png.
"""

import argparse
import asyncio
import itertools
import json
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from satisfice import Session, load_engine, load_task, solve
from satisfice.answers import extract_strict
from satisfice.catalog import canonical
from satisfice.core.engine import Engine
from satisfice.core.problem import Problem, Verdict
from satisfice.engines.local import LocalEngine, model_folder
from satisfice.sampling import Filter, Truncation
from satisfice.sampling.diversity_risk import GRIDS, at_risk, prefix_tree, tokens_needed
from satisfice.stopping import Full
from satisfice.tasks import Task
from satisfice.training.traces import END, END_THINK, prompt_text, write_trace

HERE = Path(__file__).parent
TASK = "chain-sum:hard"
GRAM = 4  # tokens of the pieces that distinctness counts


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=2, help="chains a problem")
    parser.add_argument("--temperatures", default="0.6,1,1.5,2")
    parser.add_argument("--risks", default="0.25,1,5", help="at which the filters are compared by recall")
    parser.add_argument("--risk", type=float, default=1.0, help="at which they are run; one of the risks")
    parser.add_argument("--max-tokens", type=int, default=512, help="longest chain")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    begin = time.monotonic()
    torch.set_num_threads(1)
    engine = load_engine("pocket", rows=256, batch=128)
    assert isinstance(engine, LocalEngine)
    risks = [float(r) for r in args.risks.split(",")]
    if args.risk not in risks:
        parser.error(f"--risk {args.risk} must be one of --risks {args.risks}")
    tree = corpus_tree(engine, load_task(TASK, split="calibration", limit=40))
    table = calibrate(engine, tree, risks)
    methods: dict[str, Filter | None] = {"none": None}
    methods |= {canonical(row["method"]): row["method"] for row in table if row["target"] == args.risk and row["fits"]}
    task = load_task(TASK, limit=args.problems)
    temperatures = [float(t) for t in args.temperatures.split(",")]
    rows = asyncio.run(think(engine, task, methods, temperatures, args.seeds, args.max_tokens))
    results = {
        "schema_version": 1,
        "config": {
            "task": task.name, "problems": args.problems, "seeds": args.seeds, "max_tokens": args.max_tokens,
            "risk": args.risk, "order": "temperature first",
        },
        "environment": {**engine.describe(), "wall_s": round(time.monotonic() - begin)},
        "prefixes": len(tree[1]),
        "filters": [{**row, "method": canonical(row["method"])} for row in table],
        "rows": rows,
    }  # fmt: skip
    (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    draw(rows, args.out / "figure.png")
    print(report(results))


# Setting the parameters


def corpus_tree(engine: LocalEngine, task: Task, traces: int = 60) -> tuple[NDArray[np.float32], list[frozenset[int]]]:
    """Logits `[n, vocab]` at the prefixes where flawless solutions part, and what follows there."""
    rng = random.Random(0)
    texts = []
    for problem in task.problems:
        prompt = prompt_text(problem.question)
        for _ in range(traces):
            trace = write_trace("chain-sum", problem.question, problem.answer, rng)
            if not trace.hidden:  # without slips: everything in it is right
                texts.append((prompt, f"{prompt}{trace.thinking}{END_THINK}{trace.answer}{END}"))
    start = min(len(engine.encode(prompt)) for prompt, _ in texts)
    sequences = [tuple(engine.encode(text)) for _, text in texts]
    tree = prefix_tree(sequences, start=start)
    model = AutoModelForCausalLM.from_pretrained(model_folder("pocket"), local_files_only=True, dtype=torch.float32)
    logits, follows, seen = [], [], set()
    with torch.inference_mode():
        for sequence in sequences:
            places = [n for n in range(start, len(sequence)) if sequence[:n] in tree and sequence[:n] not in seen]
            if places:
                seen |= {sequence[:n] for n in places}
                out = model(torch.tensor([sequence])).logits[0]
                logits.append(out[[n - 1 for n in places]].numpy())
                follows += [tree[sequence[:n]] for n in places]
    return np.concatenate(logits), follows


def calibrate(
    engine: Engine, tree: tuple[NDArray[np.float32], list[frozenset[int]]], risks: Sequence[float]
) -> list[dict[str, Any]]:
    """Each filter at each risk."""
    logits, follows = tree
    needed = tokens_needed(logits, follows)
    rows = []
    for target, name in itertools.product(risks, GRIDS):
        point = at_risk(name, target, torch.from_numpy(logits), needed)
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


async def think(
    engine: Engine, task: Task, methods: Mapping[str, Filter | None], temperatures: Sequence[float], seeds: int,
    limit: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each filter and temperature."""
    rows = []
    async with engine:
        for (name, method), temperature in itertools.product(methods.items(), temperatures):
            sampler = Truncation(after=(method,) if method else (), temperature=temperature)
            begin = time.monotonic()

            async def attempt(
                problem: Problem, seed: int, sampler: Truncation = sampler, hot: float = temperature
            ) -> tuple[bool, tuple[int, ...], bool]:
                session = Session(engine, problem, seed=seed, temperature=hot, chain_limit=limit, sampler=sampler)
                solution = await solve(Full(), session)
                if solution.error:
                    raise RuntimeError(solution.error)
                answer = extract_strict(solution.text, engine.profile.answer_form)
                right = answer is not None and task.verify(problem, answer) is Verdict.RIGHT
                ids = tuple(i for span in solution.spans if span.kind == "sampled" for i in span.ids)
                return right, ids, solution.ended == "limit"

            works = [attempt(problem, seed) for problem in task.problems for seed in range(seeds)]
            chains = await asyncio.gather(*works)
            rows.append({"filter": name, "temperature": temperature, **measure(chains, seeds)})
            print(f"{name:34s} T={temperature:g}  {_line(rows[-1])}  {time.monotonic() - begin:.0f} s", flush=True)
    return rows


def measure(chains: Sequence[tuple[bool, tuple[int, ...], bool]], seeds: int) -> dict[str, Any]:
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


def report(results: Mapping[str, Any]) -> str:
    """The rows as a Markdown table."""
    lines = ["| filter | T | n | accuracy (95 %) | tokens (95 %) | truncated | distinct |", "|" + " --- |" * 7]
    for row in results["rows"]:
        accuracy = f"{100 * row['accuracy']:.1f} ({100 * row['accuracy_low']:.1f} to {100 * row['accuracy_high']:.1f})"
        tokens = f"{row['tokens']:.0f} ({row['tokens_low']:.0f} to {row['tokens_high']:.0f})"
        lines.append(
            f"| {row['filter']} | {row['temperature']:g} | {row['n']} | {accuracy} | {tokens} | "
            f"{100 * row['truncated_rate']:.1f} % | {row['distinct']:.3f} |"
        )
    return "\n".join(lines)


def _line(row: Mapping[str, Any]) -> str:
    return f"accuracy {row['accuracy']:.3f}  tokens {row['tokens']:.0f}  distinct {row['distinct']:.3f}"


if __name__ == "__main__":
    main()
