"""How fast our truncation filters are beside transformers' own, on rows of random logits.

`python benchmarks/sampling.py --json` prints a list of
`{filter, batch, vocab, ours_ms, transformers_ms, ratio, sorted_ms, sorted_ratio, peak_mb}`
(ratio: theirs / ours, null where transformers has no such filter; sorted_ms: a plain implementation of the paper's
top-h that sorts each row, because transformers' reads 100 tokens and is another rule; peak_mb: memory that ours takes
beyond its input, null where there is no /proc to tell). Rows go to standard error as they come.
Runs of both are interleaved and the medians compared, so that a busy machine disturbs both alike; and with one thread,
the default, it is CPU time that is measured.
"""

import argparse
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from satisfice.catalog import build
from satisfice.methods.sampling import FILTER

PEERS: dict[str, Callable[[], Any]] = {
    "top-k:50": lambda: transformers.TopKLogitsWarper(50),
    "top-p:0.95": lambda: transformers.TopPLogitsWarper(0.95),
    "typical:0.9": lambda: transformers.TypicalLogitsWarper(0.9),
    "epsilon:0.0006": lambda: transformers.EpsilonLogitsWarper(6e-4),
    "eta:0.0006": lambda: transformers.EtaLogitsWarper(6e-4),
    "min-p:0.1": lambda: transformers.MinPLogitsWarper(0.1),
    "top-h(mode=reference)": lambda: transformers.TopHLogitsWarper(0.4),
    "top-h": lambda: transformers.TopHLogitsWarper(0.4),  # another rule: the nearest that transformers has
}


def sorted_top_h(logits: torch.Tensor, alpha: float = 0.4) -> torch.Tensor:
    """The paper's top-h as one would write it down: sort, sum up, cut, put back."""
    ordered, order = logits.sort(dim=-1, descending=True)
    logp = ordered.log_softmax(-1)
    p = logp.exp()
    mass, spread = p.cumsum(-1), (-p * logp).cumsum(-1)
    stays = spread / mass + mass.log() <= alpha * spread[:, -1:]
    stays[:, 0] = True
    return logits.masked_fill(torch.zeros_like(stays).scatter(1, order, ~stays), -torch.inf)


SORTED = {"top-h": sorted_top_h}
FILTERS = [*PEERS, "top-n-sigma"]
SCALE = 3.0  # standard deviation of the logits: 1 is flat (top-p keeps half the vocabulary), 3 is like a language model


def main() -> None:
    """Measure what the flags ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--batch", type=_numbers, default=[1, 64, 512])
    parser.add_argument("--vocab", type=_numbers, default=[32_000, 151_936])
    parser.add_argument("--filters", default="", help="only these, with semicolons")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each; large ones get at least two")
    parser.add_argument("--scale", type=float, default=SCALE)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for vocab in args.vocab:
        for batch in args.batch:
            for spec in args.filters.split(";") if args.filters else FILTERS:
                rows.append(measure(spec, batch, vocab, args.scale, args.rounds))
                told = "  ".join(f"{key} {_show(value)}" for key, value in rows[-1].items())
                print(told, flush=True, file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(rows, indent=1))


def measure(spec: str, batch: int, vocab: int, scale: float, rounds: int) -> dict[str, Any]:
    """One row of the result."""
    logits = make(batch, vocab, scale)
    method = build(spec, FILTER)
    peer = PEERS[spec]() if spec in PEERS else None
    runs: dict[str, Callable[[], Any]] = {"ours": lambda: method(logits)}
    if peer:
        runs["transformers"] = lambda: peer(None, logits)
    if spec in SORTED:
        runs["sorted"] = lambda: SORTED[spec](logits)
    times = {
        name: statistics.median(some) for name, some in zip(runs, interleave([*runs.values()], rounds), strict=True)
    }
    ours = times["ours"]
    return {
        "filter": spec,
        "batch": batch,
        "vocab": vocab,
        "ours_ms": _ms(ours),
        "transformers_ms": _ms(times.get("transformers")),
        "ratio": _ratio(times.get("transformers"), ours),
        "sorted_ms": _ms(times.get("sorted")),
        "sorted_ratio": _ratio(times.get("sorted"), ours),
        "peak_mb": peak(runs["ours"]),
    }


def interleave(runs: list[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Milliseconds of each run in turn. Short runs are repeated within a round, long ones have fewer rounds."""
    first = [_time(run, 1) for run in runs]
    repeat = max(1, int(20 / max(first)))
    rounds = max(2, min(rounds, int(20_000 / sum(first))))
    return [list(times) for times in zip(*([_time(run, repeat) for run in runs] for _ in range(rounds)), strict=True)]


def peak(run: Callable[[], Any]) -> float | None:
    """MB by which the memory of this process rises while it runs: the kernel's high-water mark, reset before."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # else what was freed before is taken again unseen
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        run()
        return round((_status("VmHWM") - before) / 1024, 1)
    except (OSError, AttributeError):
        return None


def _status(name: str) -> int:
    """A line of the kernel's account of this process, in kB."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def make(batch: int, vocab: int, scale: float) -> torch.Tensor:
    """Normal logits; a few rows are made and repeated, so that making them takes neither time nor memory."""
    rng = np.random.default_rng(0)
    rows = torch.from_numpy((scale * rng.standard_normal((min(batch, 16), vocab))).astype(np.float32))
    return rows.repeat(-(-batch // len(rows)), 1)[:batch].clone() if batch > len(rows) else rows


def _time(run: Callable[[], Any], repeat: int) -> float:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    begin = clock()
    for _ in range(repeat):
        run()
    return (clock() - begin) / repeat * 1e3


def _ms(time: float | None) -> float | None:
    return None if time is None else round(time, 3)


def _ratio(theirs: float | None, ours: float) -> float | None:
    return None if theirs is None else round(theirs / ours, 2)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _show(value: Any) -> str:
    return "-" if value is None else str(value)


if __name__ == "__main__":
    main()
