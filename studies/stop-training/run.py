"""When should a training that shortens chains be stopped? Curves of six methods, and halters on methods left out.

    python studies/stop-training/run.py                  # some three hours on two cores; the same command goes on
    python studies/stop-training/run.py --stage show     # from the kept curves alone

Six shapers train the pocket reasoner for 120 steps with three seeds each. Every five steps 400 held-out hard sums are
answered, with the weights of that moment and the same random numbers. A training that was killed goes on from its last
checkpoint; one that is done is not done again; curves are kept as soon as a training ends.

A run *goes too far* when the lower bound of its last change in accuracy is below -2 points. For each method in turn a
condition is chosen on the curves of the other five (the one that saves most among those that stop in time in at least
85 % of the runs that go too far), and tried on this one: does it stop in time, and what does it give up elsewhere?
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from satisfice.catalog import build
from satisfice.core.halter import Halter, Observation, follow
from satisfice.core.shaper import SHAPER
from satisfice.methods.halting import Patience, StopWhen
from satisfice.tasks import load_task, load_tasks
from satisfice.tasks.judge import Judge
from satisfice.training.halting import LOOKS
from satisfice.training.plan import TrainPlan

HERE = Path(__file__).parent
CURVES = HERE / "curves.json"
METHODS = ("kimi-length", "cosine-length", "o1-pruner", "a-dlp", "laser-d", "grpo-lambda")
SEEDS, STEPS, EVERY, HELD = (0, 1, 2), 120, 5, 400
TRAINED = ("chain-sum:easy", "chain-sum:hard")
MARGIN, IN_TIME = -0.02, 0.85
NEVER = StopWhen(condition="step<0")
CANDIDATES: Mapping[str, Halter] = {
    **{
        f"net<{net} or gain<{gain}": StopWhen(condition=f"net<{net} or gain<{gain}")
        for net in (-0.005, -0.01, -0.015, -0.02, -0.03)
        for gain in (0.0, 0.005, 0.01, 0.02, 0.05)
    },
    **{f"net_low<{low}": StopWhen(condition=f"net_low<{low}") for low in (-0.02, -0.03, -0.04)},
    **{f"patience {n}": Patience(patience=n) for n in (2, 3, 5)},
}

Curve = Sequence[Mapping[str, float]]
"""The metrics of each look, in order, with the step."""


def main() -> None:
    """Do the stages that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", default="train,show", help="train, show, or both")
    parser.add_argument("--out", type=Path, default=Path("runs/stop-training"))
    args = parser.parse_args()
    if "train" in args.stage:
        train_all(args.out)
    show(json.loads(CURVES.read_text("utf-8")))


def train_all(out: Path) -> None:
    """Do what is left of the trainings, and keep the curve of each as it ends."""
    from satisfice.training.run import train

    kept: dict[str, list[Any]] = json.loads(CURVES.read_text("utf-8")) if CURVES.exists() else {}
    tasks = load_tasks(list(TRAINED), split="train", limit=1000)
    held = load_task(TRAINED[1], split="calibration", limit=HELD)
    for seed in SEEDS:  # one seed of every method before a second of any: a study that was cut short compares methods
        for method in METHODS:
            name = f"{method}-{seed}"
            if name in kept:
                continue
            plan = TrainPlan(
                model="pocket", tasks=tasks, shaper=build(method, SHAPER), steps=STEPS, temperature=1.1,
                learning_rate=3e-4, seed=seed, stop_when=NEVER, held_out=(held,), stop_every=EVERY, save_every=EVERY,
            )  # fmt: skip
            train(plan, out / name, Judge((*plan.tasks, *plan.held_out)))
            kept[name] = list(curve_of(out / name))
            CURVES.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
            print(name, json.dumps(kept[name][-1]), flush=True)


def curve_of(folder: Path) -> Iterator[dict[str, float]]:
    """Yield the metrics of each look of a training, the untrained model left out."""
    for line in (folder / LOOKS).read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["step"] > 0:
            yield {"step": row["step"], "cost": row["cost"], **row["metrics"]}


def stopped_at(halter: Halter, curve: Curve) -> int:
    """Return the place in the curve at which a halter ends the training; its last one where it never does."""
    run = (
        Observation(
            at=row["step"], metrics={k: v for k, v in row.items() if k not in ("step", "cost")}, cost=row["cost"]
        )
        for row in curve
    )  # fmt: skip
    _, seen, _ = follow(halter, run)
    return len(seen) - 1


def judged(halter: Halter, curves: Sequence[Curve]) -> dict[str, float]:
    """Return how a halter does: stops in time where runs go too far, and what it gives up where they do not."""
    in_time, given_up, alarms = [], [], []
    for curve in curves:
        at = stopped_at(halter, curve)
        if curve[-1]["net_low"] < MARGIN:
            in_time.append(curve[at]["net_low"] >= MARGIN)
        else:
            attainable = max(row["saving"] for row in curve if row["net_low"] >= MARGIN)
            given_up.append(1 - curve[at]["saving"] / attainable if attainable > 0 else 0.0)
            alarms.append(at < len(curve) - 1)
    mean = {"in_time": in_time, "given_up": given_up, "false_alarms": alarms}
    found = {name: float(np.mean(values)) if values else float("nan") for name, values in mean.items()}
    saved = float(np.mean([curve[stopped_at(halter, curve)]["saving"] for curve in curves]))
    return {**found, "too_far": float(len(in_time)), "runs": float(len(curves)), "saved": saved}


def _rank(told: Mapping[str, Mapping[str, float]], by: str) -> Callable[[str], float]:
    return lambda name: told[name][by]


def show(kept: Mapping[str, Curve]) -> None:
    """Choose on five methods, try on the sixth, for each; write `results.json`."""
    rows = []
    for method in METHODS:
        mine = [curve for name, curve in kept.items() if name.rpartition("-")[0] == method]
        others = [curve for name, curve in kept.items() if name.rpartition("-")[0] != method]
        if not mine or not others:
            continue
        told = {name: judged(halter, others) for name, halter in CANDIDATES.items()}
        good = [name for name in told if not told[name]["in_time"] < IN_TIME]  # none goes too far: all are in time
        chosen = max(good or told, key=_rank(told, "saved" if good else "in_time"))
        rows.append({"left_out": method, "chosen": chosen, **judged(CANDIDATES[chosen], mine)})
        print(json.dumps(rows[-1]), flush=True)
    (HERE / "results.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
