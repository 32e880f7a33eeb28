"""Call functions in a process of its own, which may hang or crash without harm. It is pebble's pool of one process.

What is called was made for text that a model wrote: it may take for ever, take all memory, or end the interpreter. Each
call has a limit of processor time, one on the clock, and one of memory; after a failure the next call gets a new
process. Only what this package pickled is unpickled there.
"""

import asyncio
import contextlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Generator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Literal, TypeVar

from pebble import ProcessExpired, ProcessPool

from satisfice.core.errors import SatisficeError

MEMORY_BYTES = 4 << 30  # address space of the process; what is called needs a small part of it

Call = tuple[Callable[..., Any], tuple[Any, ...]]
V = TypeVar("V")

_inside = False  # whether this is such a process


@dataclass(frozen=True)
class Outcome:
    """What came of a call.

    `failure` says why there is no value: the function `raised`; the call took more of the processor or the stack than
    it may (`limit`), which its arguments are to blame for; or the process is `gone`, for whatever reason.
    """

    value: Any = None
    failure: Literal["", "raised", "limit", "gone"] = ""


def inside() -> bool:
    """Return whether this code runs in such a process already, so that it needs no other."""
    return _inside


class Worker:
    """One process that calls functions, one after another. Any thread or coroutine may ask.

    `load(*args)` is called in each new process before anything else, and not counted towards the limits: `limit_s` of
    the processor's time, `patience_s` on the clock. `hint` is the command that shows why a process does not start.
    """

    def __init__(
        self, load: Callable[..., None], *args: Any, limit_s: float, patience_s: float, hint: str = ""
    ) -> None:
        self.limit_s, self.patience_s, self.hint = limit_s, patience_s, hint
        self._start = (load, args)
        self._pool: ProcessPool | None = None
        self._lock = threading.Lock()
        self._answered = False  # whether a process ever started

    def run(self, steps: Generator[Call, Outcome, V]) -> V:
        """Return what a generator returns that yields calls and is sent their outcomes."""
        try:
            call = next(steps)
            while True:
                future = self._submit(*call)
                with contextlib.suppress(Exception):
                    future.result()
                call = steps.send(self._outcome(future))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def run_async(self, steps: Generator[Call, Outcome, V]) -> V:
        """Do as `run` for coroutines: the event loop goes on. A call whose coroutine is cancelled is ended."""
        try:
            call = next(steps)
            while True:
                future = self._submit(*call)
                with contextlib.suppress(Exception):
                    await asyncio.wrap_future(future)
                call = steps.send(self._outcome(future))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the process. Idempotent; what is still queued is forgotten."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
            pool.join()

    def _submit(self, function: Callable[..., Any], args: tuple[Any, ...]) -> "Future[Any]":
        with self._lock:
            if self._pool is not None and not self._pool.active:  # its process died while nobody asked
                self._pool.stop()
                self._pool = None
            if self._pool is None:
                self._pool = ProcessPool(max_workers=1, initializer=_begin, initargs=self._start, context=_Context())
            return self._pool.schedule(_called, (math.ceil(self.limit_s), function, args), timeout=self.patience_s)

    def _outcome(self, future: "Future[Any]") -> Outcome:
        try:
            value, failure = future.result()
            self._answered = True
            return Outcome(value, failure)
        except TimeoutError:
            self._answered = True
            return Outcome(failure="gone")
        except ProcessExpired as error:
            self._answered = True
            return Outcome(failure="limit" if -(error.exitcode or 0) in _TOO_MUCH else "gone")
        except BrokenProcessPool as error:
            self.close()
            if self._answered:
                return Outcome(failure="gone")
            raise SatisficeError(
                "the process that checks answers did not start" + (f". See why with: {self.hint}" if self.hint else "")
            ) from error


_TOO_MUCH = {getattr(signal, name, None) for name in ("SIGXCPU", "SIGSEGV", "SIGABRT", "SIGBUS")} - {None}


class _Process(SpawnProcess):
    """A process that does not import what its parent was started with, which may be a script that runs on import."""

    _starting = threading.Lock()

    def start(self) -> None:
        with self._starting:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = types.ModuleType("__main__")
            try:
                super().start()
            finally:
                sys.modules["__main__"] = main


class _Context(SpawnContext):
    Process = _Process


def _begin(load: Callable[..., None], args: tuple[Any, ...]) -> None:
    """Prepare a new process: silent, with little memory, and gone when its parent is."""
    global _inside
    _inside = True
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(2, 1)  # whatever a library prints is no output of the program
    load(*args)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    with contextlib.suppress(ImportError):  # not on every system; the clock remains
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _called(limit_s: int, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, str]:
    """Call a function within the limits; of an error nothing is sent back, as what it holds may not be pickled.

    Time is that of the processor: on a busy machine the same answers get the same verdicts.
    """
    with contextlib.suppress(ImportError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(
            resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + limit_s, resource.RLIM_INFINITY)
        )
    try:
        return function(*args), ""
    except Exception:  # noqa: BLE001  (whatever it trips over)
        return None, "raised"
