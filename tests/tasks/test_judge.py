import asyncio
import os
import time
from dataclasses import dataclass

import pytest

from satisfice.core.problem import Problem, Verdict
from satisfice.tasks import Task, load_task
from satisfice.tasks.judge import Judge


@dataclass(frozen=True)
class Trap:
    """A scorer that hangs, dies or fails on certain answers: it is sent to the process of the judge by name."""

    def __call__(self, problem, answer):
        if answer == "hang":
            time.sleep(1e6)
        if answer == "die":
            os._exit(1)
        if answer == "fail":
            raise ZeroDivisionError
        return Verdict.RIGHT if answer == problem.answer else Verdict.WRONG


def ask(tasks, problem, answers, timeout_s=20.0):
    async def run():
        async with Judge(tasks, timeout_s=timeout_s) as judge:
            return [await judge.verdict(problem, answer) for answer in answers]

    return asyncio.run(run())


@pytest.fixture
def trapped(monkeypatch):
    # The child imports this file by its name, as a task of somebody's own would be.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    from test_judge import Trap as FromOutside  # the same class under the name that the child knows

    problem = Problem(id="p", task="trap", question="?", answer="2")
    return Task(name="trap", split="eval", problems=(problem,), _score=FromOutside()), problem


def test_a_scorer_that_hangs_dies_or_fails_is_unknown_and_the_next_answer_is_scored(trapped):
    task, problem = trapped
    verdicts = ask([task], problem, ["2", "hang", "2", "die", "3", "fail", "2", None], timeout_s=1.0)
    # A new process may take its time for its first answer, so the hang comes after one.
    assert verdicts == ["right", "unknown", "right", "unknown", "wrong", "unknown", "right", "wrong"]


def test_answers_asked_at_once_get_their_own_verdicts(trapped):
    task, problem = trapped

    async def run():
        async with Judge([task]) as judge:
            return await asyncio.gather(*(judge.verdict(problem, str(n)) for n in range(5)))

    assert asyncio.run(run()) == ["wrong", "wrong", "right", "wrong", "wrong"]


def test_a_cancelled_question_does_not_leave_its_answer_to_the_next(trapped):
    task, problem = trapped

    async def run():
        async with Judge([task]) as judge:
            await judge.verdict(problem, "2")
            slow = asyncio.create_task(judge.verdict(problem, "hang"))
            await asyncio.sleep(0.2)
            slow.cancel()
            return [await judge.verdict(problem, "3"), await judge.verdict(problem, "2")]

    assert asyncio.run(run()) == ["wrong", "right"]


def test_real_tasks_are_scored_as_they_score_themselves():
    task = load_task("chain-sum:easy", limit=3)
    problem = task.problems[1]
    assert ask([task], problem, [problem.answer, problem.answer + "0", "no idea"]) == ["right", "wrong", "wrong"]
