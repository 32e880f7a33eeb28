"""A small HTTP/1.1 client for the one kind of request that comes a token at a time.

A general client takes each piece of a streamed body through many calls; before a gateway that passes on thousands of
pieces a second that was a third of the processor time. Here the bytes of a socket go to a parser in C and whoever reads
gets all that has come since. What `httpx` raises is raised here too, so that either may stand for the other.
"""

import asyncio
import contextlib
import ipaddress
import json
import socket
import urllib.request
from collections.abc import AsyncIterator
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import httpx

HEAD = 1 << 16  # bytes of status and headers, at most
AHEAD = 1 << 18  # bytes that nobody has read yet; then the server has to wait
IDLE_S = 30.0  # for which a connection is kept that nobody uses


def direct(base: str, settings: dict[str, Any], keep: int) -> "Direct | None":
    """A client for streams from one server, or None where a proxy stands between, which is httpx's business."""
    parts = urlsplit(base)
    if settings["trust_env"] and not urllib.request.proxy_bypass(parts.hostname or ""):
        proxies = urllib.request.getproxies()
        if proxies.get(parts.scheme) or proxies.get("all"):
            return None
    return Direct(base, settings, keep)


class Direct:
    """Requests to one server, over at most `keep` connections that are kept open between them."""

    def __init__(self, base: str, settings: dict[str, Any], keep: int) -> None:
        parts = urlsplit(base)
        self._host, self._secure = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._timeout: httpx.Timeout = settings["timeout"]
        self._context = httpx.create_ssl_context() if self._secure else None
        lines = {"Host": parts.netloc, "Accept": "*/*", "Accept-Encoding": "identity", **settings["headers"]}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._keep = keep
        self._idle: list[_Connection] = []

    @contextlib.asynccontextmanager
    async def stream(self, method: str, url: str, *, json: Any) -> AsyncIterator["Reply"]:
        """The response to a request, as soon as its headers are there. Leaving the block early hangs up."""
        request = self._request(method, url, json)
        connection, reply = await self._ask(request)
        try:
            yield reply
        finally:
            if reply.reusable and len(self._idle) < self._keep:
                connection.rest()
                self._idle.append(connection)
            else:
                connection.hang_up()

    async def aclose(self) -> None:
        """Hang up where nothing is under way."""
        while self._idle:
            self._idle.pop().hang_up()
        await asyncio.sleep(0)  # the event loop closes the sockets in its next turn

    def _request(self, method: str, url: str, body: Any) -> bytes:
        data = json.dumps(body, separators=(",", ":")).encode()
        target = url.split("://", 1)[-1].partition("/")[2]
        head = f"{method} /{target} HTTP/1.1\r\n{self._head}Content-Type: application/json\r\n"
        return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data

    async def _ask(self, request: bytes) -> "tuple[_Connection, Reply]":
        """Send a request and wait for the headers of its response."""
        while (known := self._rested()) is not None:
            with contextlib.suppress(_Stale):  # the server hung up when we asked: it has not read the request
                return known, await self._send(known, request)
        fresh = await self._connect()
        return fresh, await self._send(fresh, request)

    async def _send(self, connection: "_Connection", request: bytes) -> "Reply":
        reply = connection.ask(request, self._timeout.read)
        try:
            await reply.head()
        except BaseException:
            connection.hang_up()
            raise
        return reply

    def _rested(self) -> "_Connection | None":
        oldest = asyncio.get_running_loop().time() - IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.alive and connection.since > oldest:
                return connection
            connection.hang_up()
        return None

    async def _connect(self) -> "_Connection":
        loop, problem = asyncio.get_running_loop(), "no address"
        addresses = await self._addresses()
        name = self._host if self._secure else None
        for address in addresses:
            try:
                async with asyncio.timeout((self._timeout.connect or 10.0) / len(addresses)):
                    _, made = await loop.create_connection(
                        _Connection, address, self._port, ssl=self._context, server_hostname=name
                    )
                return made
            except TimeoutError:
                problem = "it does not answer"
            except OSError as error:
                problem = str(error)
        raise httpx.ConnectError(problem)

    async def _addresses(self) -> list[str]:
        with contextlib.suppress(ValueError):  # a number needs no looking up, which is done in a thread
            return [str(ipaddress.ip_address(self._host))]
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return list(dict.fromkeys(str(row[4][0]) for row in found))


class _Stale(httpx.RemoteProtocolError):
    """A connection that was kept open turned out to be closed before anything came."""


class Reply:
    """A response on its way: what `httpx.Response` offers, as far as it is needed here."""

    def __init__(self, connection: "_Connection", silence_s: float | None) -> None:
        self.status_code = 0
        self.headers = httpx.Headers()
        self._rows: list[tuple[bytes, bytes]] = []
        self._connection, self._silence_s = connection, silence_s
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._size = 0
        self.whole = False  # all of it has come
        self._problem: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._since = 0.0  # loop seconds when the one who reads began to wait
        self._alarm = None if silence_s is None else self._loop.call_later(silence_s, self._ring, silence_s)

    @property
    def is_success(self) -> bool:
        """Whether the server did what it was asked."""
        return 200 <= self.status_code < 300

    @property
    def reusable(self) -> bool:
        """Whether all of it has come and the connection may carry another request."""
        return self.whole and self._problem is None and self._connection.alive and self._connection.keeps

    async def head(self) -> None:
        """Wait for status and headers."""
        while not self.status_code:
            await self._more()
        self.headers = httpx.Headers(self._rows)
        if self.headers.get("content-encoding", "identity") != "identity":
            raise httpx.DecodingError("the server packs what it sends, which it was asked not to do")

    def aiter_bytes(self) -> "Reply":
        """The body, in blocks of all that has come since the last."""
        return self

    def __aiter__(self) -> "Reply":
        return self

    async def __anext__(self) -> bytes:
        while not self._parts:
            if self.whole:
                raise StopAsyncIteration
            await self._more()
        block = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        if self._size > AHEAD:
            self._connection.resume()
        self._size = 0
        return block

    async def _more(self) -> None:
        if self._problem is not None:
            raise self._problem
        self._waiter, self._since = self._loop.create_future(), self._loop.time()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _ring(self, silence_s: float) -> None:
        """The time of one silence is over, if it was one: otherwise wait for the rest of the present one."""
        waited = self._loop.time() - self._since if self._waiter is not None else 0.0
        if waited >= silence_s:
            self.fail(httpx.ReadTimeout(f"silent for {silence_s:g} s"))
        else:
            self._alarm = self._loop.call_later(silence_s - waited, self._ring, silence_s)

    # Told by the connection

    def add_header(self, name: bytes, value: bytes) -> None:
        self._rows.append((name, value))

    def begin(self, status: int) -> None:
        if status >= 200:  # what is below announces that the response is on its way
            self.status_code = status
        else:
            self._rows.clear()

    def add(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > AHEAD:
            self._connection.pause()

    def complete(self) -> None:
        if self.status_code:
            self.whole = True
            self.still()

    def fail(self, problem: Exception) -> None:
        if not self.whole and self._problem is None:
            self._problem = problem
            self.still()
            self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def still(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


class _Connection(asyncio.Protocol):
    """One connection, with at most one response under way."""

    def __init__(self) -> None:
        self.alive = False
        self.keeps = False  # whether the server keeps it open after the response under way
        self.since = 0.0  # loop seconds when it was last used
        self._used = False
        self._reply: Reply | None = None
        self._heard = 0  # bytes of the response, as long as its headers are not complete
        self._sized = True
        self._transport: asyncio.Transport
        self._parser: Any

    def ask(self, request: bytes, silence_s: float | None) -> Reply:
        """Send a request."""
        self._reply, self._heard, self.keeps = Reply(self, silence_s), 0, False
        self._parser = httptools.HttpResponseParser(self)
        if not self.alive:
            self._reply.fail(_Stale("the connection was closed"))
        else:
            self._transport.write(request)
        return self._reply

    def rest(self) -> None:
        """Nothing is under way."""
        self._reply, self._used = None, True
        self.since = asyncio.get_running_loop().time()

    def hang_up(self) -> None:
        """Close at once: a server that still sends is to stop."""
        if self._reply is not None:
            self._reply.still()
        self.alive, self._reply = False, None
        self._transport.abort()

    def pause(self) -> None:
        """Let the server wait."""
        with contextlib.suppress(RuntimeError):
            self._transport.pause_reading()

    def resume(self) -> None:
        """Let it go on."""
        with contextlib.suppress(RuntimeError):
            self._transport.resume_reading()

    # Told by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.alive = cast(asyncio.Transport, transport), True  # uvloop's is one but for its base class

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:  # nobody asked
            self.hang_up()
            return
        if not reply.status_code:
            self._heard += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            reply.fail(httpx.RemoteProtocolError(f"no HTTP: {error}"))
            return
        if not reply.status_code and self._heard > HEAD:
            reply.fail(httpx.RemoteProtocolError("endless headers"))
        reply.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive, reply = False, self._reply
        if reply is None:
            return
        if exc is None and reply.status_code and not self._sized:
            reply.complete()  # its end is the end of the body
            reply.wake()
        elif self._used and not self._heard:
            reply.fail(_Stale("the connection was closed"))
        elif exc is None:
            reply.fail(httpx.RemoteProtocolError("the server hung up"))
        else:
            reply.fail(httpx.ReadError(str(exc) or type(exc).__name__))

    # Told by the parser

    def on_message_begin(self) -> None:
        self._sized = False
        if self._reply is not None and self._reply.whole:  # another response, for which nobody asked
            self._reply, self.keeps = None, False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._sized |= name.lower() in (b"content-length", b"transfer-encoding")
        if self._reply is not None:
            self._reply.add_header(name, value)

    def on_headers_complete(self) -> None:
        if self._reply is not None:
            self._reply.begin(self._parser.get_status_code())

    def on_body(self, data: bytes) -> None:
        if self._reply is not None:
            self._reply.add(data)

    def on_message_complete(self) -> None:
        if self._reply is not None:
            self.keeps = self._parser.should_keep_alive()
            self._reply.complete()
