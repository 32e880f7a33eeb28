"""Record chains once, with everything that rules which only observe could ask of them later.

Each chain runs to its natural end, with what the model says of every token. Then copies of it are asked at its
checkpoints: for a trial answer, as rules that look do (greedily, after the profile's inducing text), and for the
visible answer that the chain itself would give if it were told to stop there (drawn with its own random key). Where
states are kept, a copy looks at each cue besides, as rules do that read a state there. Answers are judged while a model
is at work anyway. `satisfice.recordings.recording` describes the files.
"""

from pathlib import Path

from satisfice.core.engine import Engine
from satisfice.core.jobs import Listener, run_all
from satisfice.recordings.record_chain import Taker
from satisfice.recordings.record_folder import RecordFolder
from satisfice.recordings.record_plan import RecordPlan
from satisfice.tasks.judge import Judge, Judging

FLUSH_S = 5.0  # longest time that a finished chain waits to be written together with others


async def record(
    plan: RecordPlan, engine: Engine, out: Path, *, listener: Listener | None = None, judge: Judging | None = None
) -> int:
    """Do what is left of a plan; how many chains the folder then holds.

    Raises:
        Unfit: the engine lacks what the plan asks for.
        BadInput: `out` holds something else, or a recording with another config. Nothing is written then.
        CannotWrite: the disk is full. What was told is safe, and the same call goes on.
    """
    listener = listener or Listener()
    taker = Taker(plan, engine)
    async with engine:
        header, width = await taker.header()
        problems = (taker.problem(task, problem) for task in plan.tasks for problem in task.problems)
        states = 4 * width * len(plan.hidden)
        with RecordFolder(
            path=out, header=header, problems=problems, states=states, record=taker.dtype.itemsize
        ) as folder:
            jobs = list(plan.jobs())
            left = [job for job in jobs if job.key not in folder.done]
            listener.start(len(jobs) - len(left), len(jobs))
            if left:
                async with judge or Judge(plan.tasks) as judging:
                    await run_all(
                        left, lambda job: taker.take(job, judging), folder.append,
                        lambda taken: listener.sample(taken.row), concurrency=plan.concurrency, sync_s=FLUSH_S,
                    )  # fmt: skip
    return len(jobs)
