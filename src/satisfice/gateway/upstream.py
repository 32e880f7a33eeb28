"""Where the tokens of a gateway come from: a model in this process, or servers of which any may fail."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput, SatisficeError
from satisfice.core.race import settle_tasks
from satisfice.engines.http.address import base_of
from satisfice.engines.http.make import make_engine
from satisfice.engines.http.upstream import HttpUpstream
from satisfice.engines.http.wire import Broken
from satisfice.gateway.failures import Unavailable

log = logging.getLogger("satisfice.gateway")

REST_S = (1.0, 15.0)  # a server that failed is left alone for so long at first, and at most
EVERY_S = 5.0  # how often each server is asked whether it is there


@dataclass(eq=False, kw_only=True)
class Source:
    """One engine, or the place where there will be one."""

    name: str  # for people
    make: Callable[[], Engine]
    remote: bool = False  # a server, and no model in this process
    engine: Engine | None = None
    problem: str = "it is being started"  # why it cannot be used; "" when it can
    permanent: bool = False  # the problem does not go away by itself
    running: int = 0
    faults: int = 0  # in a row
    rested: float = 0.0  # monotonic seconds; not before
    server: HttpUpstream | None = None
    keeps_thinking: bool | None = None  # the server's chat route goes on from thinking; None: nobody has asked
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def open(self) -> None:
        """Make the engine; `problem` says why that failed."""
        try:
            engine = await asyncio.to_thread(self.make)
            self.engine = await self.stack.enter_async_context(engine)
            self.server = cast("HttpUpstream | None", engine.upstream)
            self._say("")
        except SatisficeError as error:
            self.permanent = isinstance(error, BadInput) and not _may_pass(error)
            self._say(str(error))

    def failed(self, error: Exception) -> None:
        """Record that the source failed during a request: others go first for a while."""
        self.faults += 1
        self._say(str(error))
        self.rested = time.monotonic() + min(REST_S[1], REST_S[0] * 2.0 ** (self.faults - 1))

    def worked(self) -> None:
        """Record that the source worked."""
        self.faults = 0
        self._say("")

    async def check(self) -> None:
        """Ask the server whether it is there."""
        if self.server is None:
            return
        try:
            await self.server.check()
        except SatisficeError as error:
            self.failed(error)
        else:
            if self.rested <= time.monotonic():
                self._say("")

    def _say(self, problem: str) -> None:
        """Take a problem, and log it when it is another one."""
        if problem and problem != self.problem:
            log.warning("%s cannot be used: %s", self.name, problem)
        elif not problem and self.problem and self.faults:
            log.warning("%s works again", self.name)
        self.problem = problem


def _may_pass(error: BaseException) -> bool:
    """Return whether the reason is that nobody answered, which may change."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Broken):
            return True
        cause = cause.__cause__
    return False


class Sources:
    """The engines of a gateway, which all run the same model. Use it as an async context manager."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.all = list(sources)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether a request would find an engine now."""
        return any(source.engine is not None and not source.problem for source in self.all)

    @property
    def first(self) -> Source:
        """Any source that was opened: they are alike."""
        for source in self.all:
            if source.engine is not None:
                return source
        raise Unavailable("; ".join(f"{source.name}: {source.problem}" for source in self.all))

    def in_turn(self) -> list[Source]:
        """Engines in the order in which to try them: those that work, least busy first; then those that rested."""
        now = time.monotonic()
        open_ = [source for source in self.all if source.engine is not None]
        rested = [source for source in open_ if not source.problem or source.rested <= now]
        if not rested and not open_:
            self.first  # noqa: B018 - says why there is none
        return sorted(rested or open_, key=lambda source: (bool(source.problem), source.running))

    async def __aenter__(self) -> "Sources":
        await asyncio.gather(*(source.open() for source in self.all))
        self._tasks = {asyncio.create_task(_watch(source)) for source in self.all if source.remote}
        return self

    async def __aexit__(self, *_: object) -> None:
        await settle_tasks(self._tasks)
        for source in self.all:
            await source.stack.aclose()


async def _watch(source: Source) -> None:
    """Open a server that is not there yet, then ask it now and then whether it still is."""
    pause = REST_S[0]
    while source.engine is None and not source.permanent:
        await asyncio.sleep(pause)
        await source.open()
        pause = min(REST_S[1], 2 * pause)
    while source.engine is not None:
        await asyncio.sleep(EVERY_S if not source.problem else REST_S[0])
        await source.check()


def http_source(address: str, *, key_env: str) -> Source:
    """Return a server. Unless its address says otherwise, it is given 20 s without a token before another is tried."""
    options = {"key_env": key_env, "patience_s": 20.0, "connections": 1024, "retry_busy": False}
    return Source(name=base_of(address), make=lambda: make_engine(address, **options), remote=True)
