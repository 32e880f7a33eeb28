"""Is what `satisfice recommend` promises kept, and what does it leave on the table? On the pocket reasoner.

    python studies/recommend-pocket/run.py

The command runs as a user would run it. Then fresh problems are recorded, and what every setting does to them is read
off: whether the recommendation keeps its promise, and what the best setting saves that does. They are resampled
thousands of times to see how often promises are broken (`simulate.py`). What is done is kept under
runs/recommend-pocket, so a run that was stopped goes on; `--stage simulate,show` needs neither model nor runs.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import learn
import numpy as np
import rows
import seen
import show
import simulate

from satisfice import load_engine, load_task
from satisfice.catalog import build, canonical
from satisfice.core.files import replace_file
from satisfice.measure.replay import replay_plan
from satisfice.methods.stopping.stop_value import Trace, trace_of
from satisfice.recommend.recommend import recommend
from satisfice.recommend.search import Goal
from satisfice.recommend.tables import Outcomes, ladders_of, outcomes
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import Recording

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.stages import command, do_stages, showing

HERE = Path(__file__).parent
TIERS = ("chain-sum:easy", "chain-sum:hard")
MODEL = "pocket"
GOAL = Goal(most=0.02)
AGREE = (
    "deer(threshold=0.975, reuse_answer=true)",
    "deer(threshold=0.99)",
    "first-cue(every=3)",
    "fixed-budget(tokens=64)",
)
CHECKED = 150  # problems per tier that these are replayed on too
HOPELESS = 0.10  # share lost in a tier, after which a ladder's further settings are left out: no promise here allows it


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for, in their order."""
    parser = command(__doc__, HERE)
    parser.add_argument("--out", type=Path, default=Path("runs/recommend-pocket"))
    parser.add_argument(
        "--fresh", type=int, default=2000, help="problems per tier that the recommendation is checked on"
    )
    parser.add_argument("--resamplings", type=int, default=5000)
    stages = {
        "recommend": do_recommend, "record": do_record, "read": do_read,
        "simulate": lambda args: simulate.write(args.results, args.resamplings), "learn": do_learn,
        "show": showing(show.tables),
    }  # fmt: skip
    do_stages(parser, stages, argv)


def do_recommend(args: argparse.Namespace) -> None:
    """Find a rule as the command does: 900 problems per tier of the calibration split."""
    tasks = [load_task(name, "calibration", 900) for name in TIERS]
    found = recommend(
        MODEL, tasks, lambda: load_engine(MODEL, rows=288, batch=96), args.out / "recommend", GOAL,
        told=lambda text: print(text, flush=True),
    )  # fmt: skip
    print(found.choice.setting, found.savings, flush=True)


def do_record(args: argparse.Namespace) -> None:
    """Record fresh problems, of the evaluation split, with the checkpoints that the command has chosen."""
    pilot = json.loads((args.out / "recommend" / "pilot.json").read_text("utf-8"))
    plan = RecordPlan(
        model=MODEL, tasks=tuple(load_task(name, "eval", args.fresh) for name in TIERS), limit=args.fresh,
        at=tuple(pilot["at"]), every=pilot["every"],
    )  # fmt: skip
    asyncio.run(record(plan, load_engine(MODEL, rows=288, batch=96), args.out / "fresh"))


def do_read(args: argparse.Namespace) -> None:
    """Read every setting off the fresh problems, replay the recommendation on them too; keep the numbers."""
    found = json.loads((args.out / "recommend" / "recommendation.json").read_text("utf-8"))
    fresh = Recording(args.out / "fresh")
    problems, chains = problems_of(fresh), seen_of(fresh)
    full, tier = seen.full(chains), tiers_of(fresh)
    kept: dict[str, Any] = {"found": found, "ladders": {}, "left_out": []}
    arrays: dict[str, Any] = {"right": full.right, "spent": full.spent.astype(np.int16), "class": tier.astype(np.int8)}
    for ladder in ladders_of(Recording(args.out / "recommend" / "recording")):
        read = []
        for policy in ladder.policies:
            ours = seen.done(policy, chains)
            if ours is None:
                break
            read.append(canonical(policy))
            arrays |= {f"{name}-{read[-1]}": values for name, values in numbers(ours, full).items()}
            lost = full.right & ~ours.right
            if max(lost[tier == one].mean() for one in range(len(TIERS))) > HOPELESS:
                break
        if read:
            kept["ladders"][ladder.name] = read
        else:
            kept["left_out"].append(ladder.name)
        print(f"{ladder.name}: {len(read)} settings", flush=True)
    prompts = [len(fresh.prompts[problem.task, problem.id]) for problem in problems]
    looked = seen.done(build(found["choice"]["setting"]), chains)
    assert looked is not None
    arrays |= {
        "prompt": np.array(prompts, dtype=np.int16), "first-look": looked.looked.astype(np.float32),
        "confidence": looked.saw.astype(np.float32),
    }  # fmt: skip
    kept["read_and_replayed"] = agreement(fresh, chains, found["choice"]["setting"])
    print(json.dumps(kept["read_and_replayed"]), flush=True)
    rows.save(args.results / rows.FILE, kept, arrays)


def agreement(recording: Recording, chains: Sequence[seen.Seen], chosen: str) -> dict[str, Any]:
    """Replay the recommendation on all problems, one setting of each ladder on some: what was read must be the same."""
    problems = problems_of(recording)
    some = [*range(CHECKED), *range(len(problems) - CHECKED, len(problems))]
    found = {}
    for spec in dict.fromkeys((chosen, *AGREE)):
        policy, places = build(spec), range(len(problems)) if spec == chosen else some
        (live,) = asyncio.run(outcomes(recording, [policy], [problems[at] for at in places]))
        read = seen.done(policy, [chains[at] for at in places])
        assert read is not None
        found[canonical(policy)] = {"problems": len(places), **seen.differ(read, live)}
    return found


def seen_of(recording: Recording) -> list[seen.Seen]:
    """What the chains of a recording show, in the order of its problems."""
    by = {(row.task, row.problem): row for row in recording.rows.values()}
    return [seen.seen_in(recording, by[problem.task, problem.id]) for problem in problems_of(recording)]


def do_learn(args: argparse.Namespace) -> None:
    """Fit the rule of our own on the recommendation's problems and hold it against DEER on fresh ones."""
    known, fresh = Recording(args.out / "recommend" / "recording"), Recording(args.out / "fresh")
    cache, results = args.out / "learned.json", args.results / simulate.FILE
    if cache.exists():
        put_learned(results, json.loads(cache.read_text("utf-8")))
        return
    traces = {"fit": traces_of(known)}
    every, tier = traces_of(fresh), tiers_of(fresh)
    place = np.concatenate([np.arange((tier == one).sum()) for one in range(len(TIERS))])  # in its tier
    halves = {"promise": place < args.fresh // 2, "report": place >= args.fresh // 2}
    traces |= {name: [every[at] for at in np.flatnonzero(half)] for name, half in halves.items()}
    tiers = {name: tier[half] for name, half in halves.items()}
    found = learn.learn(args.results, traces, tiers, str(known.config["weights"]))
    replace_file(cache, json.dumps(found, indent=1) + "\n")
    put_learned(results, found)


def put_learned(results: Path, found: dict[str, Any]) -> None:
    """Put what was found of the learned rule beside the other results."""
    before = json.loads(results.read_text("utf-8")) if results.exists() else {}
    replace_file(results, json.dumps({**before, "learned": found}, indent=1) + "\n")


def traces_of(recording: Recording) -> list[Trace]:
    """What the chains of a recording show at their cues, in the order of its problems."""
    by = {(row.task, row.problem): row for row in recording.rows.values()}
    told = recording.profile.answer_end, recording.decode
    return [trace_of(recording.chain(by[p.task, p.id]), *told) for p in problems_of(recording)]


def tiers_of(recording: Recording) -> Any:
    """The tier of each problem, from 0."""
    tasks = [problem.task for problem in problems_of(recording)]
    names = list(dict.fromkeys(tasks))
    return np.array([names.index(task) for task in tasks])


def numbers(ours: Outcomes, full: Outcomes) -> dict[str, Any]:
    """What is kept of a setting: what is lost (1) or gained (-1), whether the answer differs, tokens saved."""
    return {
        "lost": ours.losses(full, "lost"), "changed": ours.losses(full, "changed").astype(bool),
        "saved": (full.spent - ours.spent).astype(np.int16),
    }  # fmt: skip


def problems_of(recording: Recording) -> Sequence[Any]:
    """The problems that were recorded whole, in order."""
    return [problem for task in replay_plan(recording, "full").tasks for problem in task.problems]


if __name__ == "__main__":
    main()
