"""How many chains per second a recording is replayed at: `python benchmarks/replay.py RECORDING [--json]`.

A chain is one policy on one problem and seed, through session, verdict, row and disk; seconds are of one core, not
of the clock. Without a recording one is made by the scripted engine, whose chains are as long as the pocket reasoner's.
"""

import argparse
import asyncio
import cProfile
import json
import pstats
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from satisfice.core.engine import Request
from satisfice.core.problem import Problem, Verdict
from satisfice.engines.scripted import ScriptedEngine
from satisfice.measure.replay import RecordedVerdicts, replay_plan
from satisfice.measure.run import answer
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import Recording
from satisfice.recordings.replay import ReplayEngine
from satisfice.tasks import Task

POLICIES = ("full", "first-cue", "deer", "deer(threshold=0.9)", "es-cot(trigger=cue)")
STEPS = 14  # of about fifteen tokens


def script(so_far: str, request: Request) -> tuple[str, float]:
    """A chain of steps with a cue in every third, that comes to 417."""
    lines = [f"{100 + 7 * i} + {3 * i} = {100 + 10 * i} so 417\n" + "Wait, " * (i % 3 == 2) for i in range(STEPS)]
    whole = "".join(lines) + "</think>417"
    if whole.startswith(so_far):
        return whole[len(so_far) :] or "<|end|>", -0.02
    said = so_far.rpartition("</think>")[2]
    return "417"[len(said) :] or "<|end|>", -0.02


class Same:
    """Judges by comparing text, so that making the recording takes no worker process."""

    async def verdict(self, problem: Problem, answer: str | None) -> Verdict:
        return Verdict.RIGHT if answer == problem.answer else Verdict.WRONG

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: Any) -> None:
        return None


def unknown(problem: Problem, answer: str) -> Verdict:
    """The task's own scorer, which nothing asks."""
    return Verdict.UNKNOWN


def make(folder: Path, problems: int) -> None:
    """A recording to replay when none is given."""
    given = tuple(Problem(id=f"p{i}", task="steps@1", question=f"problem {i}", answer="417") for i in range(problems))
    task = Task(name="steps@1", split="eval", problems=given, _score=unknown)
    plan = RecordPlan(model="scripted", tasks=(task,), at=("cue", "step"))
    asyncio.run(record(plan, ScriptedEngine(script), folder, judge=Same()))


def rate(folder: Path, policy: str, limit: int, out: Path) -> float:
    """Chains a second of one policy."""
    recording = Recording(folder)
    plan = replay_plan(recording, policy)
    jobs = list(plan.jobs())[:limit]
    engine, verdicts = ReplayEngine(recording), RecordedVerdicts(recording)

    async def go() -> float:
        begin = time.process_time()
        with (out / "rows.jsonl").open("w") as file:
            for at in range(0, len(jobs), 64):
                for row in await asyncio.gather(*(answer(job, plan, engine, verdicts) for job in jobs[at : at + 64])):
                    file.write(json.dumps(row) + "\n")
        return len(jobs) / (time.process_time() - begin)

    return asyncio.run(go())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path, nargs="?")
    parser.add_argument("--policies", nargs="*", default=POLICIES)
    parser.add_argument("--limit", type=int, default=1000, help="chains per policy")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--profile", action="store_true", help="say where the time of the first policy goes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.recording or Path(scratch) / "recording"
        if given.recording is None:
            make(folder, 200)
        if given.profile:
            with cProfile.Profile() as profile:
                rate(folder, given.policies[0], given.limit, Path(scratch))
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
            return
        rates = {
            policy: sorted(rate(folder, policy, given.limit, Path(scratch)) for _ in range(given.repeats))
            for policy in given.policies
        }
    rows = {
        policy: {"chains_per_s": statistics.median(found), "low": found[0], "high": found[-1]}
        for policy, found in rates.items()
    }
    if given.json:
        print(json.dumps({"schema_version": 1, "rows": rows}, indent=1))
    else:
        for policy, row in rows.items():
            print(f"{policy:24} {row['chains_per_s']:7.0f} chains/s  ({row['low']:.0f} to {row['high']:.0f})")


if __name__ == "__main__":
    main()
