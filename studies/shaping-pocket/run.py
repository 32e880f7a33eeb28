"""Every way to train for length, from the same model with the same number of rollouts: what is saved, what is lost.

    python studies/shaping-pocket/run.py --out runs/shaping-pocket

1. screen    one seed of each method, a short training, measured on the calibration split;
2. choose    the ten best of them trained twice as long with another seed; models on the way are measured on more
             problems of the calibration split;
3. confirm   the best five of these at the steps that were best, and `grpo`, with five other seeds each, on the
             evaluation split, which no choice has seen: the tiers that were trained on, sums of another make, and a
             stop rule on top of the trained models;
4. collect   results.json and figure.png;
5. show      the tables, from results.json alone.

Everything resumes: the same command goes on where it was stopped, inside a training too. `--minutes 9` stops by itself.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compare import Cells, paired, rank, two_way, with_both
from show import draw, tables

from satisfice.catalog import build
from satisfice.core.errors import Unfit
from satisfice.core.jobs import Listener
from satisfice.core.shaper import SHAPER
from satisfice.engines import load_engine
from satisfice.measure.plan import make_plan
from satisfice.measure.run import run_bench
from satisfice.measure.store import read_samples
from satisfice.tasks import load_task
from satisfice.training.plan import TrainPlan
from satisfice.training.rollout import DirectJudge

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.stages import command, do_stages, showing, write_results

HERE = Path(__file__).parent
TRAINED_ON = ("chain-sum:easy", "chain-sum:hard")
ELSEWHERE = "chain-sum"  # other numbers of terms and digits than both tiers, up to four digits
LIMIT = 640  # tokens of a rollout; the model's own chains have 95 and 284 on average
LOSS = 0.02  # accuracy that a finalist may have lost in the screening, on either tier
LOSS_LATER = 0.01  # the same after the longer training, which is measured on more problems
CHOOSING = 6  # seed of the longer training that chooses

METHODS = {
    "grpo": "grpo",
    "dr-grpo": "dr-grpo",
    "dapo": "dapo(limit=640, cache=320)",
    "rloo": "rloo",
    "kimi-length": "kimi-length",
    "lp-sigmoid": "lp-sigmoid(alpha=0.4)",
    "o1-pruner": "o1-pruner",
    "thinkprune": "thinkprune(first=400, last=200, drop=100, stage_steps={third})",
    "grpo-lambda": "grpo-lambda",
    "dler": "dler(limit=250)",
    "da-dler": "da-dler(easy_limit=120, limit=250)",
    "drpo": "drpo(capacity=640)",
    "siri": "siri(longest=400, shortest=200, cycle={half})",
    "palu": "palu(longest=640, floor=16)",
    "laser": "laser(target=128)",
    "laser-d": "laser-d(lower=32, upper=640, interval=16, every=10, monitor_prompts=24, fallback=320)",
    "laser-de": "laser-de(lower=32, upper=640, interval=16, every=10, monitor_prompts=24, fallback=320)",
    "step-pruner": "step-pruner",
    "a-dlp": "a-dlp(target=0.95)",
    "frugal": "frugal(limit=250)",
    "conciser-lgrpo": "conciser-lgrpo(limit=640)",
    "curriculum-budget": "curriculum-budget(start=256, interval={quarter})",
    "ceeh": "ceeh(total_steps={steps})",
    "format-length-surrogate": "format-length-surrogate(limit=640, turn=0.25)",
    "cosine-length": "cosine-length(limit=640)",
    "dot": "dot(alpha=1.5, margin=8)",
    "epo": "epo(total_steps={steps})",
    "s-grpo": "s-grpo",
    "s-grpo-answer": "s-grpo(train=answer)",
    "s-grpo-all": "s-grpo(train=all)",
    "pppo": "pppo",
    "ulorl": "ulorl(limit=640)",
    "t-ppo": "t-ppo(window=160)",
}
"""The methods with the paper's settings, but for lengths and numbers of steps, which are set to this model's chains and
to the steps of a training, and for dot's alpha, since 3 standard deviations cannot occur among 8 rollouts.
`s-grpo` stands in its three readings."""

NO_MATTER = ("out", "results", "minutes", "stage", "only", "threads")  # options that change no figure
LEFT_OUT = {
    "l1-exact": "its prompts ask for a number of tokens",
    "l1-max": "its prompts ask for a number of tokens",
    "tldr": "its prompts ask for a degree of brevity",
    "bingo": "needs a compressor that says which tokens matter",
    "crm-crf": "needs a reward model that scores conciseness",
    "odin": "needs a reward model with two heads",
    "adacot": "needs labels of which problems need thinking",
    "longwriter-length": "is for long texts",
}


def spec(name: str, steps: int) -> str:
    """A method for a training of so many steps."""
    return METHODS[name].format(steps=steps, half=steps // 2, third=steps // 3, quarter=steps // 4)


class OutOfTime(Exception):
    """`--minutes` are over; what was done is kept."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is left of the study."""
    parser = command(__doc__, HERE)
    parser.add_argument("--out", type=Path, default=Path("runs/shaping-pocket"), help="trainings and measurements")
    parser.add_argument("--only", default="", help="screen, or choose from, these alone, with commas")
    parser.add_argument("--screen-steps", type=int, default=60, help="of a training in the screening")
    parser.add_argument("--steps", type=int, default=120, help="of a longer training")
    parser.add_argument("--prompts", type=int, default=8, help="problems a step")
    parser.add_argument("--group", type=int, default=8, help="rollouts a problem")
    parser.add_argument("--limit", type=int, default=200, help="problems a tier to train on")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--screen-problems", type=int, default=400, help="problems a tier in the screening")
    parser.add_argument("--candidates", type=int, default=10, help="of the screening, to be trained longer")
    parser.add_argument("--choose-from", default="60,80,100,120", help="steps whose models may be chosen")
    parser.add_argument("--choose-problems", type=int, default=1000, help="a tier to choose by")
    parser.add_argument("--problems", type=int, default=2000, help="a tier in the confirmation")
    parser.add_argument("--seeds", default="1,2,3,4,5", help="of the confirmation's trainings")
    parser.add_argument("--finalists", type=int, default=5)
    parser.add_argument(
        "--stop", default="deer(threshold=0.97, reuse_answer=true)",
        help="stop rule on top of the trained models; its setting is that of studies/stopping-pocket",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long")
    stages = {name: partial(_part, name) for name in ("screen", "choose", "confirm", "collect")}
    try:
        do_stages(
            parser, {**stages, "show": showing(show_tables)}, argv,
            prepare=lambda args: torch.set_num_threads(args.threads),
        )  # fmt: skip
    except OutOfTime:
        print("Time is over. The same command goes on from here.")


def _part(name: str, args: argparse.Namespace) -> None:
    getattr(Study(args), name)()


def show_tables(results: Mapping[str, Any]) -> str:
    """The three stages."""
    return tables(results["screened"], results["longer"], results["confirmed"])


class Study:
    """Trainings and measurements under one folder."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.until = time.monotonic() + 60 * args.minutes
        names = [name.strip() for name in args.only.split(",") if name.strip()]
        self.methods = {name: METHODS[name] for name in names} if names else METHODS
        self._read: dict[str, Cells] = {}

    # Stages

    def screen(self) -> None:
        """One seed of each method, and the untrained model."""
        tasks, n = TRAINED_ON, self.args.screen_problems
        self.measure("pocket", "screen/untrained", tasks, "full", n, "calibration")
        for name in self.methods:
            if (model := self.train(name, 0, self.args.screen_steps)) is None:
                continue
            self.measure(model, f"screen/{name}", tasks, "full", n, "calibration")
            row = self.screened(name)
            print(f"screened {name}: " + "  ".join(f"{key} {value:+.3f}" for key, value in row.items()), flush=True)

    def choose(self) -> None:
        """The best of the screening, trained longer: which, and how long?"""
        n = self.args.choose_problems
        self.measure("pocket", "choose/untrained", TRAINED_ON, "full", n, "calibration")
        for name in self.candidates():
            if name not in self.methods or self.train(name, CHOOSING, self.args.steps) is None:
                continue
            for step in self.steps():
                where, model = f"choose/{name}-{CHOOSING}-{step}", self.model(name, CHOOSING, step)
                self.measure(model, where, TRAINED_ON, "full", n, "calibration")

    def confirm(self) -> None:
        """Finalists and `grpo`, with other seeds, on problems that no choice has seen."""
        policies = f"full,{self.args.stop}"
        tasks, n = (*TRAINED_ON, ELSEWHERE), self.args.problems
        self.measure("pocket", "confirm/untrained", tasks, policies, n, "eval")
        for name, step in {"grpo": self.args.steps, **self.finalists()}.items():
            for seed in self.seeds():
                if self.train(name, seed, self.args.steps) is not None:
                    self.measure(self.model(name, seed, step), self.place(name, seed, step), tasks, policies, n, "eval")

    def collect(self) -> None:
        """Write what is there so far: numbers and figure."""
        screened = {name: self.screened(name) for name in METHODS if self.is_measured(f"screen/{name}")}
        confirmed = [row for name in METHODS for step in self.steps() for row in self.confirmed(name, step)]
        longer = {name: rows for name in METHODS if (rows := self.longer(name))}
        finalists = self.finalists() if screened else {}
        results = {
            "schema_version": 1,
            "config": {k: v for k, v in vars(self.args).items() if k not in NO_MATTER},
            "settings": METHODS,
            "left_out": LEFT_OUT,
            "refused": {path.parent.name: path.read_text("utf-8").strip() for path in self.refusals()},
            "screened": screened,
            "longer": longer,
            "finalists": finalists,
            "confirmed": confirmed,
            "curves": {name: self.curve(f"{name}-0") for name in screened},
            "curves_confirmed": {
                name: self.mean_curve(name) for name in dict.fromkeys(row["method"] for row in confirmed)
            },
            "wall_s": {name: self.record(f"{name}-0").get("wall_s") for name in screened},
        }
        write_results(self.args, results)
        if screened:
            draw(screened, results["curves"], results["curves_confirmed"], self.args.results / "figure.png")

    # Parts

    def train(self, name: str, seed: int, steps: int) -> str | None:
        """The folder of a trained model; trains what is left of it. None when the pre-flight sees no hope."""
        from satisfice.training.run import train
        from satisfice.training.watcher import Watcher

        args, out = self.args, self.args.out / "train" / f"{name}-{seed}"
        tasks = tuple(load_task(task, split="train", limit=args.limit) for task in TRAINED_ON)
        plan = TrainPlan(
            model="pocket", tasks=tasks, shaper=build(spec(name, steps), SHAPER), steps=steps,
            prompts=args.prompts, group=args.group, max_tokens=LIMIT, temperature=1.1, bf16=True, seed=seed,
            learning_rate=args.learning_rate, save_every=5, keep_every=20, part=64,
        )  # fmt: skip

        def step(row: Mapping[str, Any]) -> None:
            print(
                f"{name} {seed} step {row['step']}: {row['rollouts/accuracy']:.3f} right, "
                f"{row['rollouts/length']:.0f} tokens, {row['step_time']:.1f} s",
                flush=True,
            )
            self.check_time()

        watcher = Watcher(step=step, note=lambda text: print(f"{name} {seed}: {text}"))
        try:
            train(plan, out, DirectJudge(tasks), watcher=watcher)
        except Unfit as refusal:
            (out / "refused.txt").write_text(f"{refusal}\n", "utf-8")
            print(f"{name} {seed}: refused: {refusal}", flush=True)
            return None
        return str(out / "model")

    def model(self, name: str, seed: int, step: int) -> str:
        """Where a training keeps the model of a step."""
        last = "model" if step == self.args.steps else f"model-{step}"
        return str(self.args.out / "train" / f"{name}-{seed}" / last)

    def place(self, name: str, seed: int, step: int) -> str:
        """Where that model's measurement on the evaluation split goes."""
        return f"confirm/{name}-{seed}" + ("" if step == self.args.steps else f"-{step}")

    def measure(self, model: str, name: str, tasks: Iterable[str], policies: str, n: int, split: str) -> None:
        """A bench run of a model; does what is left of it."""
        out = self.args.out / name
        if (out / "done").exists():
            return
        plan = make_plan(model=model, tasks=list(tasks), policies=policies, limit=n, split=split)  # type: ignore[arg-type]
        listener = Listener(sample=lambda row: self.check_time())
        asyncio.run(run_bench(plan, load_engine(model, rows=256, batch=128), out, listener=listener))
        (out / "done").touch()
        print(f"measured {name}", flush=True)

    def check_time(self) -> None:
        """Stop when the minutes are over."""
        if time.monotonic() > self.until:
            raise OutOfTime

    def steps(self) -> list[int]:
        """Those whose models may be chosen."""
        return [int(step) for step in self.args.choose_from.split(",")]

    def seeds(self) -> list[int]:
        """Seeds of the confirmation."""
        return [int(seed) for seed in self.args.seeds.split(",")]

    def is_measured(self, name: str) -> bool:
        """Whether a bench run is complete."""
        return (self.args.out / name / "done").exists()

    # What came out

    def cells(self, name: str) -> Cells:
        """(task, policy) -> problem -> whether it was right, and tokens spent; without what nobody could judge."""
        if name in self._read:
            return self._read[name]
        found: Cells = {}
        for row in read_samples(self.args.out / name):
            if row["verdict"] == "unknown":
                continue
            cell = found.setdefault((row["task"], row["policy"]), {})
            cell[row["problem"]] = (float(row["verdict"] == "right"), float(row["spent"]))
        if self.is_measured(name):
            self._read[name] = found
        return found

    def screened(self, name: str) -> dict[str, float]:
        """What the screened model saves and loses."""
        return self.against("screen/untrained", f"screen/{name}")

    def against(self, before: str, after: str) -> dict[str, float]:
        """Saving and accuracy difference between two measurements, by tier."""
        base, mine = self.cells(before), self.cells(after)
        row = {}
        for key, cell in mine.items():
            one, other = paired(base[key], cell)
            row[f"{key[0]} accuracy"] = float((other[:, 0] - one[:, 0]).mean())
            row[f"{key[0]} saving"] = float(1 - other[:, 1].mean() / one[:, 1].mean())
        return row

    def longer(self, name: str) -> dict[int, dict[str, float]]:
        """Step -> what the model on the way of the longer training saves and loses, as far as measured."""
        places = {step: f"choose/{name}-{CHOOSING}-{step}" for step in self.steps()}
        return {step: self.against("choose/untrained", at) for step, at in places.items() if self.is_measured(at)}

    def candidates(self) -> list[str]:
        """Of those that lost little in the screening the ones that saved most, then those that lost least."""
        rows = {n: self.screened(n) for n in METHODS if n != "grpo" and self.is_measured(f"screen/{n}")}
        different = {tuple(row.values()): name for name, row in reversed(rows.items())}  # two can be the same training
        return sorted(different.values(), key=lambda name: rank(rows[name], LOSS))[: self.args.candidates]

    def finalists(self) -> dict[str, int]:
        """Method -> steps, of the candidates that did best when they were trained longer."""
        best = {}
        for name in self.candidates():
            if rows := self.longer(name):
                step = min(rows, key=lambda step: rank(rows[step], LOSS_LATER))
                best[name] = step, rank(rows[step], LOSS_LATER)
        return {name: best[name][0] for name in sorted(best, key=lambda name: best[name][1])[: self.args.finalists]}

    def confirmed(self, name: str, step: int) -> list[dict[str, Any]]:
        """A row for each task and policy: against the untrained model thinking to its end, over seeds and problems."""
        places = [self.place(name, seed, step) for seed in self.seeds()]
        mine = [with_both(self.cells(place), TRAINED_ON) for place in places if self.is_measured(place)]
        if not mine or not self.is_measured("confirm/untrained"):
            return []
        base = with_both(self.cells("confirm/untrained"), TRAINED_ON)
        rows = []
        for task, policy in sorted(mine[0]):
            pairs = [paired(base[task, "full"], cells[task, policy]) for cells in mine]
            before, after = pairs[0][0], np.stack([other for _, other in pairs])  # [problems, 2], [seeds, problems, 2]
            rows.append(
                {
                    "method": name, "steps": step, "task": task, "policy": policy, "seeds": len(mine), "n": len(before),
                    "accuracy": float(after[:, :, 0].mean()), "accuracy_untrained": float(before[:, 0].mean()),
                    "spent": float(after[:, :, 1].mean()), "spent_untrained": float(before[:, 1].mean()),
                    "accuracy_by_seed": after[:, :, 0].mean(1).tolist(),
                    "spent_by_seed": after[:, :, 1].mean(1).tolist(), **two_way(before, after),
                }
            )  # fmt: skip
        return rows

    def refusals(self) -> list[Path]:
        """What the pre-flight refused to train."""
        return sorted((self.args.out / "train").glob("*/refused.txt"))

    def record(self, name: str) -> dict[str, Any]:
        """`train.json` of a training."""
        path = self.args.out / "train" / name / "train.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else {}

    def curve(self, name: str) -> list[dict[str, float]]:
        """Accuracy and length of each step's rollouts."""
        from satisfice.training.folder import read_steps

        fields = {
            "accuracy": "rollouts/accuracy", "tokens": "rollouts/length", "entropy": "loss/entropy",
            "truncated": "rollouts/truncated",
        }  # fmt: skip
        return [
            {"step": row["step"], **{short: round(row[field], 4) for short, field in fields.items()}}
            for row in read_steps(self.args.out / "train" / name)
        ]

    def mean_curve(self, name: str) -> list[dict[str, float]]:
        """The same over the confirmation's trainings, their mean."""
        curves = [curve for seed in self.seeds() if (curve := self.curve(f"{name}-{seed}"))]
        return [
            {field: round(float(np.mean([row[field] for row in rows])), 4) for field in rows[0]}
            for rows in zip(*curves, strict=False)
        ]


if __name__ == "__main__":
    main()
