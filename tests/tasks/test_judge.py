import asyncio
import dataclasses
import os
import time
from dataclasses import dataclass

import pytest

from satisfice.core.problem import Problem, Verdict
from satisfice.tasks import Task, load_task
from satisfice.tasks.judge import Judge


@dataclass(frozen=True)
class Trap:
    """A scorer that hangs, dies, burns or fails on certain answers: it is sent to the process of the judge by name."""

    def __call__(self, problem, answer):
        if answer == "hang":
            time.sleep(1e6)
        if answer == "die":
            os._exit(1)
        if answer == "fail":
            raise ZeroDivisionError
        if answer == "burn":
            while True:
                pass
        return Verdict.RIGHT if answer == problem.answer else Verdict.WRONG


def ask(tasks, problem, answers, **limits):
    async def run():
        async with Judge(tasks, **limits) as judge:
            return [await judge.verdict(problem, answer) for answer in answers]

    return asyncio.run(run())


@pytest.fixture
def trapped(monkeypatch):
    # The child imports this file by its name, as a task of somebody's own would be.
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    from test_judge import Trap as FromOutside  # the same class under the name that the child knows

    problem = Problem(id="p", task="trap", question="?", answer="2")
    return Task(name="trap", split="eval", problems=(problem,), _score=FromOutside()), problem


def test_a_scorer_that_hangs_or_dies_is_unknown_one_that_fails_says_wrong_and_the_next_answer_is_scored(trapped):
    task, problem = trapped
    verdicts = ask([task], problem, ["2", "hang", "2", "die", "3", "fail", "2", None], timeout_s=2.0)
    assert verdicts == ["right", "unknown", "right", "unknown", "wrong", "wrong", "right", "wrong"]


def test_an_answer_that_takes_too_much_of_the_processor_is_wrong_where_the_reference_does_not(trapped):
    task, problem = trapped
    assert ask([task], problem, ["burn", "2"], limit_s=1.0) == ["wrong", "right"]
    unfit = dataclasses.replace(problem, answer="burn")
    bad = dataclasses.replace(task, problems=(unfit,))
    assert ask([bad], unfit, ["fail", "burn", "3"], limit_s=1.0) == ["unknown", "unknown", "wrong"]


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


def test_answers_to_own_problems_are_compared_in_the_process_of_the_judge_itself(tmp_path):
    (tmp_path / "own.jsonl").write_text('{"question": "?", "answer": "x^2+1"}')
    task = load_task(str(tmp_path / "own.jsonl"))
    answers = ["1+x^2", "x^2", "2^{2^{2^{2^{2^{2}}}}}", "1/0"]
    assert ask([task], task.problems[0], answers, limit_s=5.0) == ["right", "wrong", "wrong", "wrong"]
