"""Verdicts from a process of its own: a scorer that hangs or crashes on some text says `unknown` and harms nobody."""

import asyncio
import base64
import contextlib
import json
import pickle
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from satisfice.core.errors import SatisficeError
from satisfice.core.problem import Problem, Verdict
from satisfice.tasks.load import Task

TIMEOUT_S = 20.0  # for one answer
START_S = 150.0  # for a new process to load the scorers on a busy machine, and for its first answer


class Judging(Protocol):
    """Whoever says whether answers are right, as an async context manager: `Judge`, or a recording's verdicts."""

    async def verdict(self, problem: Problem, answer: str | None) -> Verdict: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: Any) -> None: ...


class Judge:
    """Scores answers to the problems of some tasks. Use it as an async context manager; coroutines may ask at once.

    Answers are scored one after another. When one takes longer than `timeout_s`, or takes the process down, its verdict
    is `UNKNOWN` and the next answer gets a new process.
    """

    def __init__(self, tasks: Sequence[Task], *, timeout_s: float = TIMEOUT_S) -> None:
        self.timeout_s = timeout_s
        self._place: Mapping[tuple[str, str], tuple[int, int]] = {
            (task.name, problem.id): (t, p) for t, task in enumerate(tasks) for p, problem in enumerate(task.problems)
        }
        # Pickled here and unpickled by our own child: nothing from outside ever gets into it.
        self._tasks = base64.b64encode(pickle.dumps(list(tasks))) + b"\n"
        self._process: asyncio.subprocess.Process | None = None
        self._fresh = True
        self._turn = asyncio.Lock()

    async def verdict(self, problem: Problem, answer: str | None) -> Verdict:
        """Say whether an answer is right. No answer is wrong."""
        if answer is None:
            return Verdict.WRONG
        place = self._place[problem.task, problem.id]
        async with self._turn:
            reply = await self._ask(json.dumps([*place, answer]))
        return Verdict(reply) if reply in ("right", "wrong") else Verdict.UNKNOWN

    async def _ask(self, line: str) -> str | None:
        process = await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        limit = START_S if self._fresh else self.timeout_s
        try:
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()
            reply = await asyncio.wait_for(process.stdout.readline(), limit)
        except (TimeoutError, OSError):
            reply = b""
        except asyncio.CancelledError:
            await self._end()  # its answer would be taken for the next one's
            raise
        self._fresh = False
        if not reply:
            await self._end()
        return reply.decode().strip() or None

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            await self._end()
            self._fresh = True
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "satisfice.tasks.judge_worker", str(self.timeout_s),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(self._tasks)
            with contextlib.suppress(OSError, TimeoutError):
                await self._process.stdin.drain()
                if await asyncio.wait_for(self._process.stdout.readline(), START_S) == b"ready\n":
                    return self._process
            await self._end()
            raise SatisficeError(
                "the process that checks answers did not start. See why with: "
                "echo gARdlC4= | python -m satisfice.tasks.judge_worker 20"
            )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def __aenter__(self) -> Self:
        async with self._turn:
            await self._started()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()
