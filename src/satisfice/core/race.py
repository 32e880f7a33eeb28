"""Run several chains at the same pace in decode steps, so that the first to finish does not depend on wall time."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

PACE = 8  # decode steps between two looks at who is done: the most that a loser can sample after the winner's end


class Racer(Protocol):
    """What a race knows of a chain."""

    clock: int  # decode steps from the start of the problem to its last token

    def drop(self) -> object: ...


R = TypeVar("R", bound=Racer)

_competitor: contextvars.ContextVar["Competitor[Any] | None"] = contextvars.ContextVar("competitor", default=None)


def current_competitor() -> "Competitor[Any] | None":
    """Return this task's place in the innermost race that it takes part in."""
    return _competitor.get()


class Competitor(Generic[R]):
    """One competitor of a race: a task, and the chains that it makes."""

    def __init__(self, race: "Race[R]") -> None:
        self.race = race
        self.outer = current_competitor()  # a race may be run inside a competitor of another
        self.chains: dict[R, None] = {}  # those that sampled here, in order
        self.sampling = 0  # calls that are with the engine now
        self.task: asyncio.Task[R]

    async def admit(self, clock: int) -> int:
        """Wait until a chain at decode step `clock` may go on; for how many tokens, at least one."""
        room = self.race.horizon - clock
        while room < 1:
            await self.race.park(self)
            room = self.race.horizon - clock
        return room if self.outer is None else min(room, await self.outer.admit(clock))

    def begin(self, chain: R) -> None:
        """Note that a chain's call goes to the engine."""
        self.chains[chain] = None
        self.sampling += 1
        if self.outer is not None:
            self.outer.begin(chain)

    def end(self) -> None:
        """Note that a call has come back from the engine."""
        self.sampling -= 1
        if self.outer is not None:
            self.outer.end()


class Start(Protocol[R]):
    """Runs a coroutine as a task, in a context of its own: `Session.start`."""

    def __call__(self, work: Coroutine[Any, Any, R], *, context: contextvars.Context) -> "asyncio.Task[R]": ...


class Race(Generic[R]):
    """Run several coroutines, and get the chains that they return in the order in which those end.

    The order is by decode step, then by number, whatever the engine does first: all competitors advance `PACE` steps,
    then wait for one another. Leaving the race cancels those that still run and frees their chains.

        async with session.race([rule(session) for _ in range(8)]) as race:
            async for chain in race:
                return chain
    """

    def __init__(self, start: "Start[R]", works: Iterable[Coroutine[Any, Any, R]]) -> None:
        self.horizon = PACE  # no chain samples beyond this decode step
        self._parked: list[tuple[Competitor[R], asyncio.Future[None]]] = []
        self._changed = asyncio.Event()
        self._competitors = [self._start(start, work) for work in works]

    def _start(self, start: "Start[R]", work: Coroutine[Any, Any, R]) -> Competitor[R]:
        competitor, context = Competitor[R](self), contextvars.copy_context()
        context.run(_competitor.set, competitor)
        competitor.task = start(work, context=context)
        competitor.task.add_done_callback(lambda _: self._changed.set())
        return competitor

    async def park(self, competitor: Competitor[R]) -> None:
        """Wait for the others."""
        entry = (competitor, asyncio.get_running_loop().create_future())
        self._parked.append(entry)
        self._changed.set()
        try:
            await entry[1]
        finally:
            if entry in self._parked:
                self._parked.remove(entry)

    async def __aiter__(self) -> AsyncIterator[R]:
        running = list(self._competitors)
        while running:
            while not all(self._waits(competitor) for competitor in running):
                self._changed.clear()
                await self._changed.wait()
            done = [competitor for competitor in running if competitor.task.done()]
            running = [competitor for competitor in running if not competitor.task.done()]
            for chain in sorted((one.task.result() for one in done), key=lambda chain: chain.clock):  # stable
                yield chain
            self.horizon += PACE
            parked, self._parked = self._parked, []
            for _, ready in parked:
                if not ready.done():
                    ready.set_result(None)

    def _waits(self, competitor: Competitor[R]) -> bool:
        if competitor.task.done():
            return True
        return competitor.sampling == 0 and any(other is competitor for other, _ in self._parked)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        losers = [competitor for competitor in self._competitors if not competitor.task.done()]
        await settle_tasks([competitor.task for competitor in losers])
        for competitor in losers:
            for chain in competitor.chains:
                chain.drop()


async def settle_tasks(tasks: Collection["asyncio.Task[object]"]) -> None:
    """Cancel tasks and wait until each has really ended, even when the waiting itself is cancelled."""
    for task in tasks:
        task.cancel()
    cancelled = False
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError:
            cancelled = True
    for task in tasks:
        if not task.cancelled():
            task.exception()  # fetched, so that asyncio does not report it as never retrieved
    if cancelled:
        raise asyncio.CancelledError
