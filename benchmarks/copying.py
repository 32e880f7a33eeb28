"""The least that can stand before a server: `python benchmarks/copying.py UPSTREAM_PORT --port 8001` copies bytes.

What it takes of a processor for each token is what the machine asks, in that hour, for one to be read and written.
"""

import argparse
import asyncio

import uvloop


class Half(asyncio.Protocol):
    """One of the two connections of a client: what comes here goes out over there."""

    def __init__(self, other: "Half | None" = None, upstream: int = 0) -> None:
        self.other, self.upstream, self.early = other, upstream, b""
        self.opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        if self.other is None:
            self.opening = asyncio.create_task(self.open())

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        _, self.other = await loop.create_connection(lambda: Half(self), "127.0.0.1", self.upstream)
        self.other.transport.write(self.early)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
        else:
            self.other.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


async def main(upstream: int, port: int) -> None:
    """Listen until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Half(upstream=upstream), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("upstream", type=int, help="port of the server")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(main(options.upstream, options.port))
