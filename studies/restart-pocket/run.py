"""Is the advice of `satisfice restart` right? Advice from some problems, against attempts really made on others.

    python studies/restart-pocket/run.py                  # records: some ten minutes
    python studies/restart-pocket/run.py --stage collect,show     # from the kept attempts alone

The advice comes from one chain each of 1,600 hard sums. On 400 others the pocket reasoner made four attempts each, with
different seeds. Each of them is answered again and again, attempt by attempt, until the verifier says right or the
attempts are over: once letting every attempt run to its end, once giving up those that look wrong to a predictor. What
is counted is every token of the chains as they were sampled, and of the looks. The rates of the advice have no part in
that, nor its assumption that a new attempt is as likely to be right.
"""

import argparse
import asyncio
import json
import lzma
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from satisfice import load_engine, load_task
from satisfice.measure.restart import Attempt, Predictor, advise, attempts_of, choose, columns, for_choosing
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import read_recording

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.stages import command, do_stages, showing, table, write_results

HERE = Path(__file__).parent
KEPT = HERE / "attempts.jsonl.xz"
TASK = "chain-sum:hard"
ONCE, AGAIN, SEEDS = 2000, 400, (1, 2, 3)
PREDICTORS = tuple(Predictor(cue=cue, below=below) for cue in (1, 2, 3) for below in (0.3, 0.5, 0.7, 0.9))


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for."""
    parser = command(__doc__, HERE)
    parser.add_argument("--out", type=Path, default=Path("runs/restart-pocket"))
    stages = {"record": lambda args: keep(args.out), "collect": do_collect, "show": showing(tables)}
    do_stages(parser, stages, argv)


def keep(out: Path) -> None:
    """Record both parts, and keep what is needed of each chain."""
    lines = []
    for name, limit, seeds in (("once", ONCE, (0,)), ("again", AGAIN, SEEDS)):
        plan = RecordPlan(model="pocket", tasks=(load_task(TASK, limit=limit),), limit=limit, seeds=seeds)
        asyncio.run(record(plan, load_engine("pocket"), out / name))
        chains = list(read_recording(out / name))
        for chain, one in zip(chains, attempts_of(chains), strict=True):
            lines.append(json.dumps({"seed": chain.seed, **asdict(one)}) + "\n")
    KEPT.write_bytes(lzma.compress("".join(lines).encode(), preset=9))


def kept() -> dict[str, list[Attempt]]:
    """Return the attempts at each problem in the order of their seeds."""
    found: dict[str, list[Attempt]] = {}
    for line in lzma.decompress(KEPT.read_bytes()).decode().splitlines():
        row = json.loads(line)
        del row["seed"]
        tuples = {name: tuple(value) for name, value in row.items() if isinstance(value, list)}
        found.setdefault(row["problem"], []).append(Attempt(**{**row, **tuples}))
    return found


def took(attempts: Sequence[Attempt], predictor: Predictor | None) -> tuple[int, bool]:
    """Return the tokens until the first right answer that is not given up, or of all attempts; whether it came."""
    total = 0
    for one in attempts:
        there = predictor is not None and len(one.at) >= predictor.cue
        if predictor is not None and there:
            n = predictor.cue - 1
            total += one.looking[n]
            if one.confident[n] < predictor.below:
                total += one.at[n]
                continue
        total += one.length
        if one.right:
            return total, True
    return total, False


def saved(waited: Any, right: Any, dropped: Any, right_too: Any, axis: int) -> Any:
    """Return the share of tokens per right answer that giving up saves."""
    waiting, dropping = (t.sum(axis=axis) / r.sum(axis=axis) for t, r in ((waited, right), (dropped, right_too)))
    return 1 - dropping / waiting


def do_collect(args: argparse.Namespace) -> None:
    """Compare what is advised with what came of it, predictor by predictor."""
    found = kept()
    advising = [some[0] for some in found.values() if len(some) == 1]
    made = [some for some in found.values() if len(some) == 1 + len(SEEDS)]
    chosen = choose([one for one in advising if for_choosing(one.problem)])
    rows: list[dict[str, Any]] = []
    for predictor in (chosen, *PREDICTORS):
        own = [one for one in advising if predictor is not chosen or not for_choosing(one.problem)]
        right, said, length, at, look = columns(own, predictor)
        advice = advise(right, said, length, at, looking=look)
        both = np.array([[took(some, None), took(some, predictor)] for some in made], dtype=float)  # [n, way, 2]
        flat = tuple(both.reshape(len(made), 4).T)
        interval = bootstrap(
            flat, saved, paired=True, vectorized=True, n_resamples=5_000, method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        came = float(saved(*flat, axis=-1))
        rows.append(
            {
                "predictor": str(predictor), "chosen": predictor is chosen, "verdict": advice.verdict,
                "caught": advice.measured.caught, "lost": advice.measured.lost, "advised": advice.saving,
                "advised_low": advice.low, "advised_high": advice.high,
                "made": came, "made_low": float(interval.low),
                "made_high": float(interval.high), "agrees": bool(interval.low <= advice.saving <= interval.high),
                "same_sign": bool(np.sign(advice.saving) == np.sign(came)),
                "unsolved": float(1 - both[:, 1, 1].mean()),
            }
        )  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    told = {
        "advising": len(advising), "made": len(made), "waiting": float(np.mean([took(some, None)[0] for some in made])),
        "rows": rows,
    }  # fmt: skip
    write_results(args, told)


def tables(results: Mapping[str, Any]) -> str:
    """Every predictor: what it was advised to do, and what came of it; plus: giving up costs."""
    lines = [
        [
            row["predictor"] + " (chosen)" * row["chosen"], f"{row['caught']:.0%}", f"{row['lost']:.1%}",
            _cost(row, "advised"), _cost(row, "made"), row["verdict"],
        ]
        for row in results["rows"]
    ]  # fmt: skip
    heads = ("predictor", "wrong ones given up", "right ones given up", "advised (95 %)", "made (95 %)", "advice")
    return table(heads, lines)


def _cost(row: Mapping[str, Any], name: str) -> str:
    middle, low, high = (-100 * row[f"{name}{end}"] for end in ("", "_high", "_low"))
    return f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    main()
