"""Do many jobs at once, put what is done on disk, and tell whoever watches."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from satisfice.core.race import settle_tasks


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Functions that a run calls as it goes on. All optional."""

    start: Callable[[int, int], None] = lambda done, size: None  # samples already on disk, samples in all
    sample: Callable[[dict[str, Any]], None] = lambda row: None  # a new sample, now on disk
    rows: Callable[[list[dict[str, Any]]], None] = lambda rows: None  # fresh result rows
    note: Callable[[str], None] = lambda text: None  # something a person should know


J = TypeVar("J")
R = TypeVar("R")


async def run_all(
    jobs: Iterable[J], work: Callable[[J], Awaitable[R]], write: Callable[[list[R]], None], tell: Callable[[R], None],
    *, concurrency: int, sync_s: float, beside: "asyncio.Task[None] | None" = None,
) -> None:  # fmt: skip
    """Do jobs, `concurrency` at once. What is done is put on disk, several together, and told of afterwards.

    Nothing waits longer than `sync_s` seconds for others. The first real error, one of the task `beside` too, ends it
    with everything cancelled.
    """
    finished: asyncio.Queue[R] = asyncio.Queue()
    waiting = iter(jobs)

    async def worker() -> None:
        for job in waiting:  # one iterator for all workers
            finished.put_nowait(await work(job))

    async def all_workers() -> None:
        async with asyncio.TaskGroup() as workers:
            for _ in range(concurrency):
                workers.create_task(worker())

    working = asyncio.create_task(all_workers())
    watched = {working} if beside is None else {working, beside}
    try:
        while not working.done() or not finished.empty():
            done, _ = await asyncio.wait(watched, timeout=sync_s, return_when=asyncio.FIRST_COMPLETED)
            new = [finished.get_nowait() for _ in range(finished.qsize())]
            if new:
                await asyncio.to_thread(write, new)
            for one in new:
                tell(one)
            for task in done:
                task.result()
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors
    finally:
        await settle_tasks([working])


def _first(errors: BaseException) -> BaseException:
    """Return the error itself out of the groups that tasks wrap around it."""
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors
