"""A response that is written as it is made, notices when its client is gone, and does not wait for ever."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from satisfice.core.race import settle_tasks
from satisfice.gateway.events import dumps


class ResponseWriter:
    """The way to one client: a status and one body, or a stream of events."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self.started = self.ended = False
        self.waits_since: float | None = None  # monotonic seconds: the client has not taken the last part yet
        self.headers = headers
        self.stream_type = "text/event-stream; charset=utf-8"
        self._send = send

    async def start(self, status: int, kind: str) -> None:
        """Status and headers."""
        self.started = True
        headers = {**self.headers, "content-type": kind}
        rows = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        self.waits_since = time.monotonic()
        await self._send({"type": "http.response.start", "status": status, "headers": rows})
        self.waits_since = None

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """A part of the body."""
        self.ended = not more
        self.waits_since = time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self.waits_since = None

    async def events(self, data: bytes) -> None:
        """Part of a stream of events, which begins with the first."""
        if not self.started:
            self.headers["cache-control"] = "no-cache"
            self.headers["x-accel-buffering"] = "no"  # nginx passes events on as they come
            await self.start(200, self.stream_type)
        await self.write(data)

    async def end(self) -> None:
        """The end of a stream."""
        await self.write(b"", more=False)

    async def whole(self, status: int, row: object) -> None:
        """A status and one JSON object."""
        data = dumps(row)
        self.headers["content-length"] = str(len(data))
        await self.start(status, "application/json")
        await self.write(data, more=False)


class WatchedResponse(Response):
    """A response whose `work` writes it.

    When the client leaves, or takes nothing for `slow_s` seconds, the work is cancelled and waited for.
    """

    def __init__(
        self, work: Callable[[ResponseWriter], Awaitable[None]], headers: dict[str, str], *, slow_s: float
    ) -> None:
        super().__init__()
        self._work, self._first, self._slow_s = work, headers, slow_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = ResponseWriter(send, self._first)

        async def work() -> None:
            await self._work(writer)

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async def stuck() -> None:
            while writer.waits_since is None or time.monotonic() - writer.waits_since < self._slow_s:  # noqa: ASYNC110
                await asyncio.sleep(self._slow_s / 4)

        tasks = [asyncio.create_task(step()) for step in (work, gone, stuck)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if writer.ended:  # the client has all of it and may leave; what is left is to count
                await asyncio.wait(tasks[:1])
        finally:
            await settle_tasks(tasks)
        if not tasks[0].cancelled():
            tasks[0].result()


async def keep_alive(writer: ResponseWriter, pause_s: float, sign: bytes) -> None:
    """Send `sign` to a client whose stream has nothing to say yet, again and again until cancelled."""
    while True:
        await asyncio.sleep(pause_s)
        if writer.waits_since is None:  # else something is on its way already
            await writer.events(sign)
