"""Run a plan: many problems at once over one engine, every finished sample on disk before it is told of, resumable."""

import asyncio
import functools
import importlib.metadata
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import satisfice
from satisfice.answers import extract_flexible, extract_strict, same
from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput, CannotWrite, MissingExtra, NotRecorded
from satisfice.core.files import clean
from satisfice.core.jobs import Listener, run_all
from satisfice.core.ledger import Ledger
from satisfice.core.problem import Verdict
from satisfice.core.race import settle_tasks
from satisfice.core.session import Session, Solution, solve
from satisfice.measure.compute import costs, sample_flops, shape_of
from satisfice.measure.plan import BenchJob, BenchPlan
from satisfice.measure.samples import SCHEMA_VERSION, SampleKey, key_of, numbers_of, question_digest
from satisfice.measure.statistics import is_decided, result_rows
from satisfice.measure.store import RunFolder
from satisfice.measure.subject import BASELINE, Subject, subject_of
from satisfice.measure.trace import first_right, span_rows, thinking_tokens
from satisfice.tasks.judge import Judge, Judging

SYNC_S = 0.5  # longest time that a finished sample waits to be written together with others
REFRESH_S = 10.0  # at least so long between two versions of results.json and the report while the run goes on
REFRESH_SHARE = 0.05  # of the time at most goes into them

BLOCK = 50  # problems between two looks at whether a comparison is decided

Draw = Callable[[Path, dict[str, Any], Iterator[dict[str, Any]]], None]
"""Draws a report into a folder from results and samples."""


async def run_bench(
    plan: BenchPlan,
    engine: Engine | Mapping[str, Engine],
    out: Path,
    *,
    listener: Listener | None = None,
    judge: Judging | None = None,
    draw: Draw | None = None,
) -> dict[str, Any]:
    """Do what is left of a plan and return the results, which are also in `out`. Samples that failed are done again.

    `engine` is that of the plan's only model, or one for each; they run one after another.

    `draw` draws the report, now and then while the run goes on and at its end: `satisfice.report.draw`, or nothing.

    Raises:
        Unfit: the engine lacks what a policy needs.
        NotRecorded: a recording is replayed that lacks something a policy asks for.
        BadInput: `out` holds something else, or a run with another config. Nothing is written then.
        CannotWrite: the disk is full. What was told is safe, and the same call goes on.
    """
    engines = engine if isinstance(engine, Mapping) else {plan.models[0]: engine}
    if set(engines) != set(plan.models):
        raise BadInput(f"engine: there are engines for {', '.join(engines)}, and models {', '.join(plan.models)}.")
    for one in engines.values():
        plan.check_engine(one)
    listener = listener or Listener()
    with RunFolder(out, plan.config(engines)) as folder:
        samples = {key_of(row): numbers_of(row) for row in folder.samples()}
        jobs = list(plan.jobs())
        if strange := set(samples) - {job.key for job in jobs}:
            raise BadInput(f"out: {out} has samples that are not of this run, such as {min(strange)[1:]}. Remove them.")
        undone = {job.key for job in jobs if job.key not in samples or samples[job.key]["error"]}
        listener.start(len(jobs) - len(undone), len(jobs))
        if plan.repeated:
            listener.note(
                f"{plan.repeated} problems repeat a question of the same task under another id. All are solved; in "
                "numbers of problems and in intervals each question counts once."
            )
        run = _Run(plan=plan, engines=engines, folder=folder, listener=listener, samples=samples, draw=draw)
        if undone:
            async with judge or Judge(plan.tasks) as judging:
                for model in plan.models:
                    ready = plan.ready(engines[model])
                    if left := [job for job in ready.jobs() if job.key in undone and job.subject.model == model]:
                        async with engines[model]:
                            work = run.work_until_decided if plan.until_decided else run.work
                            await work(left, engines[model], judging)
        return await asyncio.to_thread(run.refresh, final=True)


@dataclass(kw_only=True)
class _Run:
    """The state of a run: what is done, and what waits to be written."""

    plan: BenchPlan
    engines: Mapping[str, Engine]
    folder: RunFolder
    listener: Listener
    samples: dict[SampleKey, dict[str, Any]]
    draw: Draw | None
    refreshing: threading.Lock = field(default_factory=threading.Lock)  # the last refresh waits for one under way

    async def work(self, jobs: list[BenchJob], engine: Engine, judge: Judging) -> None:
        """Solve the jobs; leave by the first real error with everything cancelled."""

        async def solve_one(job: BenchJob) -> dict[str, Any]:
            row = await answer(job, self.plan, engine, judge)
            refuse_unrecorded(row)
            return row

        def tell(row: dict[str, Any]) -> None:
            self.samples[key_of(row)] = numbers_of(row)
            self.listener.sample(row)

        refresher = asyncio.create_task(self.keep_fresh())
        try:
            await run_all(
                jobs, solve_one, self.folder.append, tell, concurrency=self.plan.concurrency, sync_s=SYNC_S,
                beside=refresher,
            )  # fmt: skip
        finally:
            await settle_tasks([refresher])

    async def work_until_decided(self, jobs: list[BenchJob], engine: Engine, judge: Judging) -> None:
        """Solve the jobs problem by problem, and leave out what is decided already: see `until_decided`."""
        for task in self.plan.tasks:
            still = {subject for subject in self.plan.subjects if subject.policy != BASELINE}
            of_task = [job for job in jobs if job.task.name == task.name]
            for begin in range(0, len(task.problems), BLOCK):
                block = {problem.id for problem in task.problems[begin : begin + BLOCK]}
                wanted = [j for j in of_task if j.problem.id in block and (j.subject in still or j.name == BASELINE)]
                if still and wanted:
                    await self.work(wanted, engine, judge)
                still -= self.decided(task.name, still)

    def decided(self, task: str, subjects: Collection[Subject]) -> set[Subject]:
        """Return those whose comparison on a task is over."""
        here = [row for row in self.samples.values() if row["task"] == task]
        rows = result_rows(here, subjects=self.plan.subjects, tasks=[task], margin=self.plan.margin, always=True)
        return {subject for row in rows if is_decided(row) and (subject := subject_of(row)) in subjects}

    async def keep_fresh(self) -> None:
        """Renew results and report now and then, the less often the longer it takes."""
        pause = REFRESH_S
        while True:
            await asyncio.sleep(pause)
            before = time.monotonic()
            await asyncio.to_thread(self.refresh, final=False)
            pause = max(REFRESH_S, (time.monotonic() - before) / REFRESH_SHARE)

    def refresh(self, *, final: bool) -> dict[str, Any]:
        """Write the results and the report of what is on disk."""
        with self.refreshing:
            return self._refresh(final=final)

    def _refresh(self, *, final: bool) -> dict[str, Any]:
        done = [dict(row) for row in list(self.samples.values())]
        tasks = [task.name for task in self.plan.tasks]
        rows = result_rows(
            done, subjects=self.plan.subjects, tasks=tasks, margin=self.plan.margin, always=self.plan.until_decided
        )
        results = self.folder.write_results({**environment(self.engines, self.plan), "samples": len(done)}, rows)
        self.listener.rows(rows)
        if self.draw is None:
            return results
        try:
            self.draw(self.folder.path, results, self.folder.samples())
        except MissingExtra as missing:
            if final:
                self.listener.note(f"No report was drawn: {missing}")
        except CannotWrite:
            raise
        except Exception:  # while the run goes on a report that fails must not stop it; at the end it is told
            if final:
                raise
        return results


def refuse_unrecorded(row: Mapping[str, Any]) -> None:
    """Raise `NotRecorded` for a sample that a recording could not give: no fault of the policy."""
    if row["error_type"] == NotRecorded.__name__:
        why = row["error"].removeprefix(f"{row['error_type']}: ").rstrip(".")
        raise NotRecorded(f"{row['policy']}: {why} (problem {row['problem']}).")


async def answer(job: BenchJob, plan: BenchPlan, engine: Engine, judge: Judging) -> dict[str, Any]:
    """Solve one problem and say everything about it, as a row of `samples.jsonl`."""
    form = engine.profile.answer_form
    problem = job.problem
    flops = None
    try:
        session = Session(
            engine, problem, seed=job.seed, chain_limit=plan.max_tokens, temperature=plan.temperature,
            sampler=job.sampler, same=same, parse=functools.partial(extract_strict, form=form),
        )  # fmt: skip
        solution = await solve(job.policy, session)
        flops = None if solution.error else _flops(job.subject.model, session)
    except Exception as error:  # noqa: BLE001 - a question that the engine refuses fails alone, as a policy's fault does
        solution = Solution(
            text="", thinking="", ended="", spans=(), ledger=Ledger(), log=(),
            error=f"{type(error).__name__}: {error}", error_type=type(error).__name__,
        )  # fmt: skip
    strict = flexible = None
    verdict = loose = "error"
    if not solution.error:
        strict, flexible = extract_strict(solution.text, form), extract_flexible(solution.text)
        verdict = loose = await judge.verdict(problem, strict)
        if flexible != strict and verdict is not Verdict.RIGHT:
            loose = await judge.verdict(problem, flexible)
    ledger = solution.ledger
    return {
        "schema_version": SCHEMA_VERSION,
        **job.subject.as_row(),
        "task": job.task.name,
        "problem": problem.id,
        "seed": job.seed,
        "question": problem.question,
        "question_digest": question_digest(problem.question),
        "gold": problem.answer,
        "answer": strict,
        "answer_flexible": flexible,
        "text": solution.text,
        "verdict": str(verdict),
        "verdict_flexible": str(loose),
        "stop_reason": solution.ended,
        "truncated": solution.ended == "limit",
        "error": solution.error,
        "error_type": solution.error_type,
        "kept": ledger.kept,
        "probe": ledger.probe,
        "dropped": ledger.dropped,
        "spent": ledger.spent,
        "injected": ledger.injected,
        "prefilled": ledger.prefilled,
        "steps": ledger.steps,
        "flops": flops,
        "wall_s": round(ledger.wall_s, 4) if plan.timed else None,
        "chain": solution.chain,
        "thinking_tokens": thinking_tokens(solution.spans, solution.thinking, engine.decode),
        "first_right": await first_right(
            solution.spans, solution.thinking, engine.profile, engine.decode, functools.partial(judge.verdict, problem)
        ),
        "spans": span_rows(solution.spans, engine.decode),
        "log": [{"kind": e.kind, "chain": e.chain, "at": e.at, "data": clean(e.data)} for e in solution.log],
    }


def _flops(model: str, session: Session) -> int | None:
    """Return the operations that a problem took; None where the model's configuration is not known."""
    shape, chains = shape_of(model), session.chains
    if shape is None or not chains:
        return None
    begins = {event.chain: event.at for event in session.log if event.kind == "fork"}
    return sample_flops(shape, chains[0].prompt_length, chains, begins)


def failures(results: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each row with failed samples: how many, and why the first did."""
    return [
        f"{row['model']} under {row['policy']} on {row['task']}: {row['errors']} of {row['samples']} answers failed, "
        f"so nothing is concluded about it. First cause: {row['first_error']}. The same command tries them again."
        for row in results["rows"]
        if row["errors"]
    ]


def environment(engines: Mapping[str, Engine], plan: BenchPlan) -> dict[str, Any]:
    """Return where and when a run was made: what may differ between two runs with the same results."""
    told = {model: engine.describe() for model, engine in engines.items()}
    return {
        **told[plan.models[0]],
        **({"engines": told} if len(told) > 1 else {}),
        "compute": {model: costs(model, str(one.get("dtype", ""))) for model, one in told.items()},
        "satisfice": satisfice.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "concurrency": plan.concurrency,
        "typed": dict(plan.typed),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": {
            name: importlib.metadata.version(name) for name in ("numpy", "scipy", "reasoning-gym", "math-verify")
        },
        "command": " ".join(["satisfice", *sys.argv[1:]]) if sys.argv[0].endswith("satisfice") else "",
    }
