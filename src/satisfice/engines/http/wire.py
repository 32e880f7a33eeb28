"""Streams from an OpenAI-compatible server: what may go wrong on the way, what is tried again, and what is not."""

import asyncio
import collections
import contextlib
import json
import os
import random
import urllib.request
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from satisfice.core.errors import EngineError, Refused

TOO_LONG = 8 << 20  # bytes of one event; no honest server sends as much
PAUSE_S, LONGEST_PAUSE_S = 0.25, 20.0  # between the first two tries, and at most
KEEP_S = 4.0  # for which a connection is kept that nobody uses; servers on uvicorn hang up after 5
FAREWELL_S = 1.0  # for the last bytes of a stream whose answer is complete
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 529})  # the same request may succeed later
Read = Callable[[], Awaitable[bytes]]
"""All that has come of a body since the last time; nothing at its end."""

_DECODE = json.JSONDecoder().raw_decode


class Broken(Exception):
    """The server did not answer, or stopped in the middle: the same request may be made again from where it is."""

    def __init__(self, why: str, *, wait_s: float | None = None, status: int = 0, words: str = "") -> None:
        super().__init__(why)
        self.wait_s = wait_s  # what the server asked for
        self.status, self.words = status, words  # of the server's answer, if it gave one


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server is and how to speak to it. The key is read from the environment and shown nowhere."""

    base: str  # ends in /v1
    key_env: str
    silence_s: float  # between two tokens
    first_s: float = 0.0  # until the first, where that is more: a long queue is normal

    @property
    def _key(self) -> str:
        return os.environ.get(self.key_env, "")

    @property
    def root(self) -> str:
        """The address without `/v1`, where servers keep what OpenAI's interface does not have."""
        return self.base.removesuffix("/v1")

    @property
    def connect_s(self) -> float:
        """How long a connection may take to come about."""
        return min(10.0, self.silence_s)

    @property
    def proxy(self) -> str | None:
        """What the environment says stands before the server; never anything before one on this machine."""
        parts = urlsplit(self.base)
        if parts.hostname in {"localhost", "127.0.0.1", "::1"} or urllib.request.proxy_bypass(parts.netloc):
            return None
        proxies = urllib.request.getproxies()
        return proxies.get(parts.scheme) or proxies.get("all")

    def connect(self) -> aiohttp.ClientSession:
        """Connections to the server, opened as they are needed; how many is up to whoever asks for streams."""
        return aiohttp.ClientSession(
            headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            timeout=aiohttp.ClientTimeout(connect=self.connect_s),
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_S),
            cookie_jar=aiohttp.DummyCookieJar(),  # what a server notes about one user it is not told of the next
            proxy=self.proxy,
            trace_configs=[_tracing()],
        )

    def scrub(self, text: str) -> str:
        """Return a server's words, short, on one line and without the key."""
        text = " ".join(text.split())
        text = text.replace(self._key, "***") if self._key else text
        return text if len(text) <= 300 else text[:300] + " ..."


class Gate:
    """At most `size` streams at once; whoever is urgent goes first."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._lines: tuple[collections.deque[asyncio.Future[None]], ...] = (collections.deque(), collections.deque())

    @contextlib.asynccontextmanager
    async def slot(self, *, urgent: bool) -> AsyncIterator[None]:
        """Hold a place while the block runs."""
        if self._free:
            self._free -= 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._lines[0 if urgent else 1].append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._pass_on()  # the place was given to us just now
                raise
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        for line in self._lines:
            while line:
                turn = line.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1


class Patience:
    """How long one call waits for a server that refuses, is busy or breaks off, counted from its last token."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s, self._time = patience_s, asyncio.get_running_loop().time
        self._since = self._time()
        self._faults = 0

    def progress(self) -> None:
        """A token came."""
        self._since = self._time()

    async def after(self, fault: Broken) -> None:
        """Wait before the next try; `EngineError` when patience is over."""
        waited = self._time() - self._since
        pause = min(LONGEST_PAUSE_S, PAUSE_S * 2.0**self._faults) * random.uniform(0.75, 1.25)
        pause = max(pause, fault.wait_s or 0.0)
        self._faults += 1
        if waited + pause > self._patience_s:
            tries = f"{self._faults} {'try' if self._faults == 1 else 'tries'}"
            raise EngineError(f"{fault} (given up after {tries} and {waited:.0f} s without a token)") from fault
        await asyncio.sleep(pause)


@contextlib.asynccontextmanager
async def ask(
    client: aiohttp.ClientSession,
    address: Address,
    url: str,
    body: dict[str, Any] | None = None,
    *,
    first_s: float | None = None,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The response to a request, as soon as its headers are there. Leaving the block before its end hangs up.

    A server that points elsewhere is not followed there. What is asked may take `first_s` seconds before anything
    comes, by default `silence_s`.

    Raises:
        Broken: something is wrong with the connection, now or while the block runs; it may be tried again.
        EngineError: the request cannot be sent there at all.
    """
    first_s, response = address.silence_s if first_s is None else first_s, None
    try:
        async with (
            asyncio.timeout(address.connect_s + first_s) as limit,
            await _answer(client, url, body) as response,
        ):
            with _listening(response, limit, address.silence_s, first_s):
                yield response
    except aiohttp.ConnectionTimeoutError as error:
        raise Broken(f"no connection within {address.connect_s:g} s") from error
    except TimeoutError as error:
        begun = response is not None and response.content.total_bytes > 0
        raise Broken(f"the server was silent for {address.silence_s if begun else first_s:g} s") from error
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
        raise Broken(f"the connection failed ({type(error).__name__}: {address.scrub(str(error))})") from error
    except aiohttp.ClientError as error:
        raise EngineError(f"the request failed ({type(error).__name__}: {address.scrub(str(error))})") from error


async def _answer(client: aiohttp.ClientSession, url: str, body: dict[str, Any] | None) -> aiohttp.ClientResponse:
    """Send a request, and again at once where a connection was used before and fails before any byte came.

    Servers may announce to keep a connection and close it all the same: llama.cpp does so after every stream. Each try
    uses up one such connection, so the last one is made on a fresh one.
    """
    while True:
        sent = _Sent()
        try:
            method = "GET" if body is None else "POST"
            return await client.request(method, url, json=body, allow_redirects=False, trace_request_ctx=sent)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            if not sent.reused:
                raise


@dataclass
class _Sent:
    """What aiohttp tells of a request on its way."""

    reused: bool = False  # its connection had been used before


def _tracing() -> aiohttp.TraceConfig:
    async def note(session: aiohttp.ClientSession, context: Any, about: Any) -> None:
        context.trace_request_ctx.reused = True

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(note)
    return config


@contextlib.contextmanager
def _listening(
    response: aiohttp.ClientResponse, limit: asyncio.Timeout, silence_s: float, first_s: float
) -> Iterator[None]:
    """Put a limit off for as long as something comes, or would if what has come were read.

    The first part of the body may take `first_s` seconds, each further one `silence_s`.

    aiohttp's own (`sock_read`) sets a timer with every piece, some 3 % of what a gateway does for a token; and it never
    ends when all that a server says is 103.
    """
    loop, content = asyncio.get_running_loop(), response.content
    alarm: asyncio.TimerHandle

    def look(heard: int) -> None:
        nonlocal alarm
        if limit.expired():
            return
        if content.is_eof():  # all has come: from now on it is the reader who takes time
            limit.reschedule(None)
            return
        if content.total_bytes != heard or _is_full(response):
            limit.reschedule(loop.time() + silence_s)
        alarm = loop.call_later(silence_s / 10, look, content.total_bytes)

    limit.reschedule(loop.time() + (silence_s if content.total_bytes else first_s))
    alarm = loop.call_later(silence_s / 10, look, content.total_bytes)
    try:
        yield
    finally:
        alarm.cancel()


def _is_full(response: aiohttp.ClientResponse) -> bool:
    """Return whether aiohttp holds so much that nobody has read yet that it takes no more from the server."""
    connection = response.connection
    return connection is not None and connection.transport is not None and not connection.transport.is_reading()


@contextlib.asynccontextmanager
async def open_stream(
    client: aiohttp.ClientSession, address: Address, body: dict[str, Any], *, path: str = "completions"
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The events of one streamed answer. Leaving the block closes the stream, which stops the server.

    Raises:
        Broken: it may be tried again.
        EngineError: it may not: the server refuses the request, or answers with something that is no stream of events.
    """
    body, first_s = {**body, "stream": True}, max(address.first_s, address.silence_s)
    async with ask(client, address, f"{address.base}/{path}", body, first_s=first_s) as response:
        await check_status(response, address)
        if response.content_type != "text/event-stream":
            raise EngineError(f"the server does not stream: it answers with {response.content_type}")
        events = _events(response.content.readany, address)
        try:
            yield events
        finally:
            await events.aclose()


async def check_status(response: aiohttp.ClientResponse, address: Address) -> None:
    """Raise `Broken` or `EngineError` with the server's own words unless it accepted the request."""
    if 200 <= response.status < 300:
        return
    words = address.scrub(message_of(await _beginning(response.content.readany)))
    said = f"the server answered {response.status}" + (f": {words}" if words else "")
    if response.status in BUSY:
        wait_s = retry_after(response.headers.get("retry-after", ""))
        raise Broken(said, wait_s=wait_s, status=response.status, words=words)
    raise Refused(said, response.status, words=words)


async def _beginning(read: Read) -> bytes:
    head = b""
    with contextlib.suppress(aiohttp.ClientError):
        while len(head) < 65_536 and (part := await read()):
            head += part
    return head


def message_of(body: bytes) -> str:
    """Return the message of an error in any of the forms that servers use."""
    text = body.decode("utf-8", "replace")
    try:
        row = json.loads(text)
    except ValueError:
        return text
    for key in ("error", "detail", "message"):
        if isinstance(row, dict) and row.get(key):
            row = row[key]
    if isinstance(row, dict) and row.get("message"):
        row = row["message"]
    return row if isinstance(row, str) else json.dumps(row)


def retry_after(value: str) -> float | None:
    """Seconds that a server asks to wait; None when it does not, or says it in a way that nobody understands.

    >>> retry_after("2"), retry_after("soon"), retry_after("Fri, 21 Nov 2025 10:00:00 GMT")
    (2.0, None, 0.0)
    """
    with contextlib.suppress(ValueError):
        seconds = float(value)
        return seconds if 0 <= seconds < float("inf") else None
    with contextlib.suppress(ValueError, TypeError):
        when = parsedate_to_datetime(value)
        return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    return None


async def _events(read: Read, address: Address) -> AsyncGenerator[dict[str, Any], None]:
    """Parse server-sent events into JSON objects, up to `[DONE]` or the end of the stream.

    Lines end in LF, CR or both, a byte-order mark may come first, and `data` lines of one event are joined by LF, as
    the standard says (html.spec.whatwg.org, server-sent events); of its fields only `data` is read.
    """
    rest, data = b"", list[bytes]()
    begun = after_cr = False  # whether the place of a byte-order mark is past; whether the last part ended in CR
    while part := await read():
        if not begun:
            rest += part
            if len(rest) < len(BOM_UTF8) and BOM_UTF8.startswith(rest):
                continue
            part, rest, begun = rest.removeprefix(BOM_UTF8), b"", True
        if after_cr:
            part = part.removeprefix(b"\n")
        after_cr = part.endswith(b"\r")
        if b"\r" in part:
            part = part.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = (rest + part).split(b"\n")
        if len(rest) + sum(map(len, data)) > TOO_LONG:
            raise EngineError(f"the server sent an event of more than {TOO_LONG >> 20} MB")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:])
            elif line == b"data":
                data.append(b"")
            elif not line and data:
                whole, data = _joined(data), []
                if whole == b"[DONE]":
                    await _drain(read)
                    return
                if whole:
                    yield _parsed(whole, address)
    if (whole := _joined(data)) and whole != b"[DONE]":
        with contextlib.suppress(ValueError):  # cut off inside an event: whoever reads sees that the end is missing
            json.loads(whole)
            yield _parsed(whole, address)


def _joined(data: list[bytes]) -> bytes:
    """Return the data of an event without the spaces around it, which mean nothing in JSON."""
    return b"\n".join(line.removeprefix(b" ") for line in data).strip()


async def _drain(read: Read) -> None:
    """Read a body to its end, so that the connection can be used again; not for long."""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(FAREWELL_S):
            while await read():
                pass


def _parsed(data: bytes, address: Address) -> dict[str, Any]:
    try:
        text = data.decode()
        event, end = _DECODE(text)
        if end != len(text):
            raise ValueError("something follows")
    except (ValueError, RecursionError) as error:
        shown = address.scrub(data[:200].decode("utf-8", "replace"))
        raise EngineError(f"the server sent an event that is no JSON: {shown!r}") from error
    if not isinstance(event, dict):
        raise EngineError(f"the server sent an event that is no object: {address.scrub(str(event))!r}")
    if event.get("error"):
        raise EngineError(f"the server broke off: {address.scrub(message_of(data))}")
    return event
