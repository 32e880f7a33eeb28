"""Verdicts from a process of its own: a scorer that hangs or crashes on some text says `unknown` and harms nobody."""

import asyncio
import pickle
from collections.abc import Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from satisfice.answers.process import Call, Outcome, Worker
from satisfice.core.problem import Problem, Verdict
from satisfice.tasks.load import Task

LIMIT_S = 10.0  # processor seconds for one answer
TIMEOUT_S = 120.0  # on the clock, however busy the machine


class Judging(Protocol):
    """Whoever says whether answers are right, as an async context manager: `Judge`, or a recording's verdicts."""

    async def verdict(self, problem: Problem, answer: str | None) -> Verdict: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: Any) -> None: ...


class Judge:
    """Scores answers to the problems of some tasks. Use it as an async context manager; coroutines may ask at once.

    Answers are scored one after another. When one takes longer than `timeout_s` on the clock, or ends the process, its
    verdict is `UNKNOWN` and the next answer gets a new process. An answer that takes more than `limit_s` of the
    processor's time is wrong, if the reference of its problem is right in less.
    """

    def __init__(self, tasks: Sequence[Task], *, timeout_s: float = TIMEOUT_S, limit_s: float = LIMIT_S) -> None:
        self._place: Mapping[tuple[str, str], tuple[int, int]] = {
            (task.name, problem.id): (t, p) for t, task in enumerate(tasks) for p, problem in enumerate(task.problems)
        }
        # Pickled here and unpickled by our own child: nothing from outside ever gets into it.
        self._worker = Worker(
            _load, pickle.dumps(list(tasks)), limit_s=limit_s, patience_s=timeout_s,
            hint='python -c "import satisfice.tasks.judge, reasoning_gym"',
        )  # fmt: skip
        self._fit: dict[tuple[int, int], bool] = {}  # whether the reference of a problem is right

    async def verdict(self, problem: Problem, answer: str | None) -> Verdict:
        """Return whether an answer is right. No answer is wrong."""
        if answer is None:
            return Verdict.WRONG
        place = self._place[problem.task, problem.id]
        return await self._worker.run_async(self._steps(place, answer, problem.answer))

    def _steps(self, place: tuple[int, int], answer: str, reference: str) -> Generator[Call, Outcome, Verdict]:
        found = yield _verdict, (*place, answer)
        if not found.failure:
            return Verdict(found.value)
        if found.failure == "gone":
            return Verdict.UNKNOWN
        if place not in self._fit:
            itself = yield _verdict, (*place, reference)
            self._fit[place] = itself.value == Verdict.RIGHT.value
        return Verdict.WRONG if self._fit[place] else Verdict.UNKNOWN

    async def __aenter__(self) -> Self:
        await self._worker.run_async(_started())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._worker.close)


_tasks: list[Task] = []  # of the process that scores


def _load(tasks: bytes) -> None:
    _tasks[:] = pickle.loads(tasks)


def _verdict(task: int, problem: int, answer: str) -> str:
    return _tasks[task].verify(_tasks[task].problems[problem], answer).value


def _started() -> Generator[Call, Outcome, None]:
    yield len, ("",)
