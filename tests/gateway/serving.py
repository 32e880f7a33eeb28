"""A gateway on a loopback socket, in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from satisfice.gateway.app import Gateway, create_app
from satisfice.gateway.settings import Settings
from satisfice.gateway.upstream import Source, Sources, http_source


class Served:
    """Where a gateway listens, and its inside."""

    def __init__(self, server: uvicorn.Server, gateway: Gateway, loop: asyncio.AbstractEventLoop) -> None:
        port = server.servers[0].sockets[0].getsockname()[1]
        self.url, self.port, self.gateway, self.loop = f"http://127.0.0.1:{port}", port, gateway, loop

    def tasks(self) -> int:
        """Tasks that are alive in the gateway's event loop."""
        return len(asyncio.all_tasks(self.loop))


@contextlib.contextmanager
def served(
    sources: Sources, settings: Settings | None = None, wrap: Callable[[Any], Any] = lambda app: app, **options: Any
) -> Iterator[Served]:
    """Run a gateway until the block ends; `wrap` puts something around the application."""
    app = create_app(sources, settings or Settings(), **options)
    config = uvicorn.Config(
        wrap(app), port=0, log_level="error", access_log=False, timeout_graceful_shutdown=5, ws="none"
    )
    server = uvicorn.Server(config)
    loops: list[asyncio.AbstractEventLoop] = []
    up = threading.Event()

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        task = asyncio.create_task(server.serve())
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        up.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert up.wait(900)  # a server on a busy machine takes its time to answer what it is asked at the start
    assert server.started
    try:
        yield Served(server, app.state.gateway, loops[0])
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def local(engine: Any) -> Sources:
    """One engine in this process."""
    return Sources([Source(name="local", make=lambda: engine)])


def upstream(*addresses: str) -> Sources:
    """Servers, with little patience."""
    return Sources([http_source(address, key_env="SATISFICE_API_KEY") for address in addresses])
