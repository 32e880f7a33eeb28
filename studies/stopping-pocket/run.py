"""Every stop rule on the pocket reasoner: accuracy against everything spent, at settings fixed on another split.

    python studies/stopping-pocket/run.py

Chains are recorded once (hours); rules that only look are replayed on them, the others run live on fewer problems, and
a sample of what was replayed is run live too and must be the same. Settings are chosen on the calibration split.
Whatever is done is kept under runs/stopping-pocket: a run that was stopped goes on, and `--stage` does one part alone.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import rules
import show
from promises import promises

from satisfice import load_engine, load_task
from satisfice.catalog import build, canonical
from satisfice.core.engine import Engine
from satisfice.core.jobs import run_all
from satisfice.measure.plan import BenchPlan
from satisfice.measure.replay import RecordedVerdicts, replay_plan
from satisfice.measure.run import answer
from satisfice.measure.samples import NUMBERS
from satisfice.measure.statistics import paired, summary
from satisfice.recommend.calibrate import calibrate
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import Recording
from satisfice.recordings.replay import ReplayEngine
from satisfice.tasks import Split
from satisfice.tasks.judge import Judge, Judging

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.stages import command, do_stages, showing, write_results

HERE = Path(__file__).parent
LEARN = "products:hard,gcd:hard"  # what `knowing-before-saying` learns from
MARGIN = 0.02  # accuracy that may be lost
HOPE = 0.01  # loss on the calibration split up to which a setting may be chosen
STAGES = ("record", "fit", "choose", "replay", "promise", "choose-live", "live", "check", "collect")


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for, in their order."""
    parser = command(__doc__, HERE)
    parser.add_argument("--out", type=Path, default=Path("runs/stopping-pocket"))
    parser.add_argument("--problems", type=int, default=2000, help="a tier where a saving is claimed")
    parser.add_argument("--calibration", default="600,1500", help="problems to choose settings on, easy and hard")
    parser.add_argument("--learn", type=int, default=600, help="problems a task that the gate on questions learns from")
    parser.add_argument("--others", type=int, default=500, help="problems of every other task")
    parser.add_argument("--live", type=int, default=300, help="problems a tier for rules that act")
    parser.add_argument("--live-others", type=int, default=100, help="problems of every other task for rules that act")
    parser.add_argument("--live-choose", type=int, default=120, help="problems a tier to choose their settings on")
    parser.add_argument("--check", type=int, default=40, help="problems a tier on which replayed and live are compared")
    parser.add_argument("--artefacts", type=Path, default=HERE / "artefacts", help="where what rules learn is kept")
    stages = {name: partial(_part, name.replace("-", "_")) for name in STAGES}
    do_stages(parser, {**stages, "show": showing(show.tables)}, argv)


def _part(name: str, args: argparse.Namespace) -> None:
    busy = sum(os.times()[:4])
    getattr(Study(args), name)()
    print(f"{sum(os.times()[:4]) - busy:.0f} s of a core, other processes' too once they have ended", flush=True)


class Study:
    """The stages. Each finds what the ones before it have left on disk."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, args.out
        here = Path.cwd()
        folder = args.artefacts.resolve()
        self.artefacts = folder.relative_to(here) if folder.is_relative_to(here) else folder  # the same for everybody
        easy, hard = map(int, args.calibration.split(","))
        self.sizes: dict[tuple[Split, str], int] = {
            ("calibration", rules.TIERS[0]): easy, ("calibration", rules.TIERS[1]): hard,
            ("calibration", LEARN): args.learn,
            **{("eval", task): args.problems for task in rules.TIERS},
            **{("eval", task): args.others for task in rules.OTHERS},
        }  # fmt: skip

    def recording(self, split: Split, task: str) -> Recording:
        """What was recorded of a task."""
        return Recording(self.folder(split, task))

    def folder(self, split: Split, task: str) -> Path:
        """Where a task is recorded."""
        return self.out / "recordings" / f"{split}-{task.replace(':hard,', '-').replace(':', '-')}"

    def whole(self, split: Split, task: str) -> bool:
        """Whether all of a task is recorded."""
        path = self.folder(split, task) / "chains.jsonl"
        return path.exists() and path.read_bytes().count(b"\n") == self.sizes[split, task] * len(task.split(","))

    def record(self) -> None:
        """Record what is not yet recorded."""
        for (split, task), limit in self.sizes.items():
            learn = task == LEARN
            plan = RecordPlan(
                model="pocket", tasks=tuple(load_task(name, split=split, limit=limit) for name in task.split(",")),
                limit=limit, split=split, at=("cue",) if learn else ("cue", "step"),
                every=None if learn else rules.EVERY, hidden=(2, -1), hidden_first=1, trial_tokens=20, concurrency=64,
            )  # fmt: skip
            asyncio.run(record(plan, load_engine("pocket", rows=384, batch=128), self.folder(split, task)))

    def fit(self) -> None:
        """Train what learns. What is there stays as it is."""
        self.artefacts.mkdir(parents=True, exist_ok=True)
        for rule in rules.LEARNED:
            path = self.artefacts / f"{rule}.json"
            if not path.exists():
                task = LEARN if rule == "knowing-before-saying" else rules.TIERS[1]
                artefact = calibrate(rule, self.recording("calibration", task))
                artefact.save(path)
                print(rule, json.dumps(artefact.about["measured"]), flush=True)

    def choose(self) -> None:
        """Choose settings of the rules that only look, on the calibration split."""
        grids = rules.observing(self.artefacts)
        for task in rules.TIERS:
            self.replay_cells("calibration", task, ["full", *(spec for some in grids.values() for spec in some)])
        self.settle(grids, "replayed")

    def choose_live(self) -> None:
        """Choose settings of the rules that act, on fewer problems."""
        grids = rules.acting(self.artefacts)
        for task in rules.TIERS:
            specs = ["full", *(spec for some in grids.values() for spec in some)]
            self.live_cells("calibration", task, specs, self.args.live_choose)
        self.settle(grids, "live")

    def settle(self, grids: dict[str, list[str]], where: str) -> None:
        """Of each rule the setting that saves most and loses at most `HOPE` on either tier, or else the safest."""
        kept = {"most_lost": HOPE, "chosen": {}, "accuracy_and_saving": {}} | self.read("chosen.json")
        for rule, specs in grids.items():
            found = {spec: [self.gains("calibration", task, spec, where) for task in rules.TIERS] for spec in specs}
            fit = [spec for spec in specs if all(accuracy >= -HOPE for accuracy, _ in found[spec])]
            safest = max(specs, key=lambda spec: min(accuracy for accuracy, _ in found[spec]))
            best = max(fit, key=lambda spec: sum(saving for _, saving in found[spec])) if fit else safest
            kept["chosen"][rule] = best
            kept["accuracy_and_saving"][rule] = [
                {"spec": s, **dict(zip(rules.TIERS, found[s], strict=True))} for s in specs
            ]
            print(f"{rule}: {best}", flush=True)
        self.write("chosen.json", kept)

    def replay(self) -> None:
        """Replay the rules that only look, as published and as chosen, on all tasks."""
        specs = self.specs(rules.observing(self.artefacts))
        for task in (*rules.TIERS, *rules.OTHERS):
            if self.whole("eval", task):
                self.replay_cells("eval", task, [*rules.PLAIN, *specs])

    def live(self) -> None:
        """Run the rules that act, and `full` beside them; on fewer problems where nothing is claimed."""
        grids = rules.acting(self.artefacts)
        specs, claimed = self.specs(grids), self.specs({rule: grids[rule] for rule in rules.CLAIMED})
        for task in rules.TIERS:
            self.live_cells("eval", task, ["full", *claimed], self.args.problems)
            self.live_cells("eval", task, specs, self.args.live)
        for task in rules.OTHERS:
            self.live_cells("eval", task, ["full", *specs], self.args.live_others)

    def check(self) -> None:
        """Run some of what was replayed live: every number of every sample must be the same."""
        specs = ["full", CHECKED_CAP, "first-cue", *self.specs(rules.observing(self.artefacts))]
        found = {}
        for task in rules.TIERS:
            self.live_cells("eval", task, specs, self.args.check, name="check")
            for spec in specs:
                live = self.cell("eval", task, spec, "check")
                replayed = {row["problem"]: row for row in self.cell("eval", task, spec, "replayed")}
                differ = [row["problem"] for row in live if told(row) != told(replayed[row["problem"]])]
                found[f"{task} {canonical(build(spec))}"] = {"problems": len(live), "different": differ}
        self.write("check.json", found)
        print(
            f"{sum(len(f['different']) for f in found.values())} of {sum(f['problems'] for f in found.values())} differ"
        )

    def promise(self) -> None:
        """Try promises on fresh data, over resplits of recordings."""
        hard = rules.TIERS[1]
        lynx = self.artefacts / "lynx.json"
        found = {}
        recordings = self.recording("eval", hard), self.recording("calibration", hard)
        for name, row in promises(*recordings, lynx, self.out / "effects"):
            found[name] = row
            self.write("promises.json", found)
            print(name, json.dumps(row), flush=True)

    def collect(self) -> None:
        """Results and figure, from whatever is there."""
        results: list[dict[str, Any]] = []
        watching, acting = (self.specs(of(self.artefacts)) for of in (rules.observing, rules.acting))
        for task in (*rules.TIERS, *rules.OTHERS):
            for where, specs in (("replayed", [*rules.PLAIN, *watching]), ("live", ["full", *acting])):
                there = [spec for spec in specs if self.cell_path("eval", task, spec, where).exists()]
                results += [self.set_against("eval", task, spec, where) for spec in there]
            print(task, flush=True)
        extra = {name: self.read(f"{name}.json") for name in ("chosen", "check", "promises")}
        found = show.collect(results, extra, self.artefacts)
        write_results(self.args, found)
        show.draw(found["rows"], self.args.results / "frontier.png")

    # Cells: the samples of one rule on one task

    def replay_cells(self, split: Split, task: str, specs: Sequence[str]) -> None:
        """Replay the rules whose cells are not there, in two processes."""
        left = [spec for spec in dict.fromkeys(specs) if not self.cell_path(split, task, spec, "replayed").exists()]
        parts = [part for part in (left[::2], left[1::2]) if part]
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            for done in [pool.submit(replay_some, self.args, split, task, part) for part in parts]:
                done.result()

    def live_cells(self, split: Split, task: str, specs: Sequence[str], n: int, name: str = "live") -> None:
        """Run the rules whose cells are not there, on the first `n` problems."""
        left = [spec for spec in dict.fromkeys(specs) if not self.cell_path(split, task, spec, name).exists()]
        if left:
            asyncio.run(self._live(split, task, left, n, name))

    async def _live(self, split: Split, task: str, specs: Sequence[str], n: int, name: str) -> None:
        loaded = load_task(task, split=split, limit=n)
        async with load_engine("pocket", rows=192, batch=96) as engine, Judge((loaded,)) as judge:
            for spec in specs:
                begin = time.monotonic()
                plan = BenchPlan(
                    models=("pocket",), tasks=(loaded,), policies={canonical(build(spec)): build(spec)}, limit=n
                )
                self.keep(split, task, spec, name, await work(plan, engine, judge, 64))
                print(f"{name} {split} {task} {spec}: {time.monotonic() - begin:.0f} s", flush=True)

    def keep(self, split: Split, task: str, spec: str, where: str, rows: Iterable[dict[str, Any]]) -> None:
        """Put a cell on disk, whole."""
        path = self.cell_path(split, task, spec, where)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps([{name: row[name] for name in KEPT} for row in rows]))
        draft.replace(path)

    def cell_path(self, split: Split, task: str, spec: str, where: str) -> Path:
        """Where a cell is kept."""
        text = canonical(build(spec)).replace(str(self.artefacts) + "/", "").replace('"', "").replace(" ", "")
        return self.out / where / f"{split}-{task.replace(':', '-')}" / f"{text}.json"

    def cell(self, split: Split, task: str, spec: str, where: str) -> list[dict[str, Any]]:
        """The samples of a cell."""
        rows: list[dict[str, Any]] = json.loads(self.cell_path(split, task, spec, where).read_text())
        return rows

    def gains(self, split: Split, task: str, spec: str, where: str) -> tuple[float, float]:
        """What a rule gains in accuracy over `full`, and the share of tokens that it saves."""
        ours, full = (self.cell(split, task, one, where) for one in (spec, "full"))
        right, spent = (
            [sum(f(row) for row in cell) for cell in (ours, full)] for f in (is_right, lambda r: r["spent"])
        )
        return round((right[0] - right[1]) / len(full), 4), round(1 - spent[0] / spent[1], 4)

    def set_against(self, split: Split, task: str, spec: str, where: str) -> dict[str, Any]:
        """A row of the results: a rule against `full` on the same problems."""
        cell, full = (
            {(row["problem"], row["seed"]): row for row in self.cell(split, task, one, where)} for one in (spec, "full")
        )
        full = {key: full[key] for key in cell}  # a rule that acts may have been run on fewer problems
        compared = paired(cell, full, margin=MARGIN, is_baseline=spec == "full")
        return {"policy": canonical(build(spec)), "task": task, "how": where, **summary(cell), **compared}

    def specs(self, grids: dict[str, list[str]]) -> list[str]:
        """Of each rule the published setting and the chosen one."""
        chosen = self.read("chosen.json").get("chosen", {})
        return list(
            dict.fromkeys(spec for rule, specs in grids.items() for spec in (specs[0], chosen.get(rule)) if spec)
        )

    def write(self, name: str, value: Any) -> None:
        """Keep something as JSON."""
        (self.out / name).write_text(json.dumps(value, indent=1) + "\n")

    def read(self, name: str) -> Any:
        """What was kept; empty if it was not."""
        path = self.out / name
        return json.loads(path.read_text()) if path.exists() else {}


def replay_some(args: argparse.Namespace, split: Split, task: str, specs: Sequence[str]) -> None:
    """Replay some rules on a task, and keep their cells."""
    study = Study(args)
    recording = study.recording(split, task)
    engine = ReplayEngine(recording)
    for spec in specs:
        plan = replay_plan(recording, spec)
        rows = asyncio.run(work(plan, engine, RecordedVerdicts(recording), 1))
        study.keep(split, task, spec, "replayed", rows)


CHECKED_CAP = rules.CAPS[1]
KEPT = (*NUMBERS, "first_right")
UNTOLD = ("wall_s", "prefilled")  # what a replay cannot know


def is_right(row: dict[str, Any]) -> bool:
    """Whether a sample's answer is right."""
    return bool(row["verdict"] == "right")


def told(row: dict[str, Any]) -> dict[str, Any]:
    """What a replayed sample must have in common with a live one."""
    return {name: value for name, value in row.items() if name not in UNTOLD}


async def work(plan: BenchPlan, engine: Engine, judge: Judging, concurrency: int) -> list[dict[str, Any]]:
    """The samples of a plan, in the order of its problems; the first fault of a rule ends it."""
    rows: dict[str, dict[str, Any]] = {}

    async def one(job: Any) -> dict[str, Any]:
        row = await answer(job, plan, engine, judge)
        if row["error"]:
            raise RuntimeError(f"{job.name} on {job.problem.id}: {row['error']}")
        return row

    def keep(done: list[dict[str, Any]]) -> None:
        rows.update({row["problem"]: row for row in done})

    await run_all(list(plan.jobs()), one, keep, lambda row: None, concurrency=concurrency, sync_s=1.0)
    return [rows[problem.id] for task in plan.tasks for problem in task.problems]


if __name__ == "__main__":
    main()
