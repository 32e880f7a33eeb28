"""Evaluate rules on recorded chains: the same session code, samples, statistics and report as a live run."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from satisfice.core.errors import BadInput, NotRecorded, Unfit
from satisfice.core.jobs import Listener
from satisfice.core.problem import Problem, Verdict
from satisfice.measure.plan import BenchJob, BenchPlan, named_policies
from satisfice.measure.run import Draw, answer, refuse_unrecorded, run_bench
from satisfice.recordings.recording import Recording
from satisfice.recordings.replay import ReplayEngine
from satisfice.tasks import Task, load_task
from satisfice.tasks.judge import Judge

TRIED = 48  # samples of a policy that are tried before anything is written


def replay_plan(
    recording: Recording, policies: str, *, tasks: tuple[str, ...] = (), seeds: tuple[int, ...] = (),
    limit: int | None = None, margin: float = 0.02, allow_files: bool = False,
) -> BenchPlan:  # fmt: skip
    """Return the plan of a run on recorded chains; tasks, seeds and problems are those of the recording unless named.

    Only what was recorded whole takes part: problems all of whose chains are there, with every one of the seeds.

    Raises:
        BadInput: a task or seed that was not recorded, or nothing that was recorded whole.
        UnknownName: no such policy or field.
    """
    config = recording.config
    for name, asked, held in (("seeds", seeds, config["seeds"]), ("tasks", tasks, config["tasks"])):
        if strange := [one for one in asked if one not in held]:
            raise BadInput(f"{name}: {strange[0]!r} was not recorded in {recording.folder}, only {held}.")
    seeds, names = tuple(seeds or config["seeds"]), tuple(tasks or config["tasks"])
    loaded = []
    for name in names:
        problems = [problem for (task, _), problem in recording.problems.items() if task == name]
        chains = [(seed, str(n)) for seed in seeds for n in range(int(config["chains"]))]
        whole = [p for p in problems if all((name, p.id, *chain) in recording.rows for chain in chains)][:limit]
        if not whole or (limit is not None and len(whole) < limit):
            raise BadInput(
                f"{recording.folder} holds {len(whole)} problems of {name} with all their chains, of {len(problems)} "
                "planned. Go on with the recording, or ask for fewer."
            )
        loaded.append(Task(name=name, split=config["split"], problems=tuple(whole), _score=_not_here))
    built, typed = named_policies(policies, allow_files=allow_files)
    return BenchPlan(
        models=(config["model"],), tasks=tuple(loaded), policies=built, typed=typed, seeds=seeds, limit=limit,
        split=config["split"], temperature=recording.temperature, max_tokens=config["max_tokens"], margin=margin,
        timed=False,
    )  # fmt: skip


async def replay(
    plan: BenchPlan, engine: ReplayEngine, out: Path, *, listener: Listener | None = None, draw: Draw | None = None
) -> dict[str, Any]:
    """Run the plan on the recording: what `run_bench` writes and returns, but for times, which a replay cannot know.

    Raises:
        Unfit, NotRecorded: a policy asks for something that the recording does not hold. It is tried on some problems
            before anything is written; a lack that shows up later ends the run.
    """
    try:
        plan.check_engine(engine)
    except Unfit as error:
        raise NotRecorded(_refusal(engine, str(error).split(". ")[0])) from error
    judge = RecordedVerdicts(engine.recording)
    try:
        async with judge:
            for name, policy in plan.policies.items():
                jobs = list(replace(plan, policies={name: policy}).jobs())
                for job in jobs[:: -(-len(jobs) // TRIED)]:
                    await _try(job, plan, engine, judge)
        return await run_bench(plan, engine, out, listener=listener, judge=judge, draw=draw)
    except NotRecorded as error:
        raise NotRecorded(_refusal(engine, str(error).rstrip("."))) from error


async def _try(job: BenchJob, plan: BenchPlan, engine: ReplayEngine, judge: "RecordedVerdicts") -> None:
    refuse_unrecorded(await answer(job, plan, engine, judge))


def _refusal(engine: ReplayEngine, why: str) -> str:
    asks = engine.recording.config
    places = [*asks["at"], *([f"every {asks['every']} tokens"] if asks["every"] else [])]
    return (
        f"{engine.recording.folder} cannot answer for {why}. It asked copies of its chains at: start, "
        f"{', '.join(places)}. Record what is lacking, or run this policy live with satisfice bench."
    )


class RecordedVerdicts:
    """The verdicts of a recording; an answer that was not judged then is judged now, if its task can be loaded."""

    def __init__(self, recording: Recording) -> None:
        self._known: Mapping[tuple[str, str, str], Verdict] = recording.verdicts
        self._fresh: dict[tuple[str, str, str], Verdict] = {}
        self._config = recording.config
        self._live: Judge | None = None
        self._turn = asyncio.Lock()

    async def verdict(self, problem: Problem, answer: str | None) -> Verdict:
        """Say whether an answer is right. No answer is wrong."""
        if answer is None:
            return Verdict.WRONG
        key = (problem.task, problem.id, answer)
        found = self._known.get(key) or self._fresh.get(key)
        if found is None:
            async with self._turn:
                if self._live is None:
                    split, limit = self._config["split"], self._config["limit"]
                    tasks = [load_task(name, split=split, limit=limit) for name in self._config["tasks"]]
                    self._live = await Judge(tasks).__aenter__()
            found = self._fresh[key] = await self._live.verdict(problem, answer)
        return found

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: Any) -> None:
        live, self._live = self._live, None
        if live is not None:
            await live.__aexit__(None, None, None)


def _not_here(problem: Problem, answer: str) -> Verdict:
    return Verdict.UNKNOWN  # a recording brings its verdicts along; see `RecordedVerdicts`
