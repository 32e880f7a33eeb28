"""The small HTTP client on real sockets: whatever a server does, it gives what httpx gives."""

import asyncio
import contextlib
import json
import ssl
import subprocess

import httpx
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from satisfice.engines import _http_direct as module
from satisfice.engines._http_direct import Direct, direct
from satisfice.engines._http_wire import Address

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


class Talker:
    """Answers the nth request with the nth of `answers`, part by part; None in one hangs up."""

    def __init__(self, *answers, pause_s=0.0):
        self.answers, self.pause_s = list(answers), pause_s
        self.requests, self.connections, self.gone = [], 0, asyncio.Event()
        self._tasks = set()

    async def connection(self, reader, writer):
        self.connections += 1
        self._tasks.add(asyncio.current_task())
        try:
            await self.talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            self.gone.set()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def talk(self, reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(size))
            for part in self.answers.pop(0):
                if part is None:
                    return
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(self.pause_s)

    @contextlib.asynccontextmanager
    async def client(self, *, silence_s=5.0, keep=4, settings=None, **options):
        server = await asyncio.start_server(self.connection, "127.0.0.1", 0, **options)
        port = server.sockets[0].getsockname()[1]
        scheme = "https" if options else "http"
        address = Address(base=f"{scheme}://127.0.0.1:{port}/v1", key_env="NOT_SET_ANYWHERE", silence_s=silence_s)
        client = Direct(address.base, {**address.settings(), **(settings or {})}, keep)
        self.url = address.base + "/completions"
        try:
            yield client
        finally:
            await client.aclose()
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


async def ask(client, url, body=None):
    async with client.stream("POST", url, json=body or {}) as reply:
        return reply.status_code, b"".join([part async for part in reply.aiter_bytes()])


def run(work):
    """In both event loops: the gateway runs in uvloop, everything else in asyncio's own."""
    found = [asyncio.run(work()), uvloop.run(work())]
    assert found[0] == found[1]
    return found[0]


def chunked(*parts):
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (*parts, b""))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_body_does_not_depend_on_how_the_bytes_arrive(data):
    parts = data.draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    form = data.draw(st.sampled_from(["chunked", "sized", "to the end"]))
    body = b"".join(parts)
    said = {
        "chunked": chunked(*parts),
        "sized": HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        "to the end": HEAD + b"\r\n" + body,
    }[form]
    said = data.draw(st.sampled_from([b"", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"])) + said
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=6)))
    pieces = [said[a:b] for a, b in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    ends = [None] if form == "to the end" else []

    async def work():
        talker = Talker([*pieces, *ends], [*pieces, *ends])
        async with talker.client() as client:
            first = await asyncio.wait_for(ask(client, talker.url), 5)
            return first, await asyncio.wait_for(ask(client, talker.url), 5), talker.connections

    first, second, connections = asyncio.run(work())
    assert first == second == (200, body)
    assert connections == (2 if form == "to the end" else 1)  # used again where the server keeps it open


def test_what_is_sent_is_what_httpx_sends():
    body = {"prompt": "Grüße \u2028", "n": [1, 2.5, None, True]}

    async def work():
        talker = Talker([chunked(b"a")], [chunked(b"a")])
        headers = {"headers": {"Authorization": "Bearer key"}}
        async with talker.client(settings=headers) as client:
            await ask(client, talker.url, body)
            async with httpx.AsyncClient(trust_env=False, **headers) as other:
                await ask(other, talker.url, body)
        return [request.partition(b"\r\n\r\n") for request in talker.requests]

    (ours, _, said), (theirs, _, meant) = asyncio.run(work())
    assert json.loads(said) == json.loads(meant) == body
    lines = [dict(row.split(": ", 1) for row in head.decode().lower().split("\r\n")[1:]) for head in (ours, theirs)]
    assert ours.split(b"\r\n")[0] == theirs.split(b"\r\n")[0] == b"POST /v1/completions HTTP/1.1"
    for name in ("host", "accept", "authorization", "content-type"):
        assert lines[0][name] == lines[1][name]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ([None], httpx.RemoteProtocolError),
        ([HEAD, None], httpx.RemoteProtocolError),
        ([HEAD + b"Content-Length: 9\r\n\r\nhalf", None], httpx.RemoteProtocolError),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe", None], httpx.RemoteProtocolError),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], httpx.RemoteProtocolError),
        ([b"SSH-2.0-OpenSSH_9.9\r\n"], httpx.RemoteProtocolError),
        ([b"HTTP/1.1 200 OK\r\n" + b"a: " + b"b" * 9000 + b"\r\n"] * 9, httpx.RemoteProtocolError),
        ([b"HTTP/1.1 103 Early\r\n\r\n"] * 5000, httpx.RemoteProtocolError),
        ([HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"], httpx.DecodingError),
        ([HEAD + b"Content-Length: 4\r\n\r\nab"], httpx.ReadTimeout),
        ([b""], httpx.ReadTimeout),
    ],
    ids=["nothing", "headers", "half", "half-chunk", "no-chunk", "no-http", "headers-for-ever", "hints-for-ever",
         "packed", "stalls", "silent"],
)  # fmt: skip
def test_faults_are_those_of_httpx(answer, error):
    async def work():
        talker = Talker([*answer])
        async with talker.client(silence_s=0.2) as client:
            with pytest.raises(error):
                await asyncio.wait_for(ask(client, talker.url), 5)
            return len(client._idle)

    assert run(work) == 0


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "nowhere.invalid"])
def test_names_are_looked_up(name):
    async def work():
        talker = Talker([chunked(b"here")])
        async with talker.client() as client:
            client._host = name
            try:
                return await ask(client, talker.url)
            except httpx.ConnectError:
                return None

    assert run(work) == (None if name.endswith("invalid") else (200, b"here"))


def test_nobody_there():
    async def work():
        talker = Talker()
        async with talker.client() as client:
            client._port = 1
            with pytest.raises(httpx.ConnectError):
                await ask(client, talker.url)
        return True

    assert run(work)


def test_a_connection_that_was_closed_meanwhile_is_not_the_end():
    """A server closes what is idle whenever it likes, also in the instant of the next request."""

    async def work():
        talker = Talker([chunked(b"one")], [None], [chunked(b"two")], [chunked(b"three"), None], [chunked(b"four")])
        async with talker.client() as client:
            said = [await ask(client, talker.url) for _ in range(3)]
            await asyncio.sleep(0.05)  # it has hung up by now
            return [*said, await ask(client, talker.url)], talker.connections

    said, connections = run(work)
    assert [body for _, body in said] == [b"one", b"two", b"three", b"four"]
    assert connections == 3


def test_who_stops_reading_hangs_up():
    async def work():
        talker = Talker([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\na\r\n"] * 10_000], pause_s=0.001)
        async with talker.client() as client:
            async with client.stream("POST", talker.url, json={}) as reply:
                async for _ in reply.aiter_bytes():
                    break
            await asyncio.wait_for(talker.gone.wait(), 5)
            return len(client._idle)

    assert run(work) == 0


def test_a_second_response_that_nobody_asked_for_is_thrown_away():
    async def work():
        talker = Talker([chunked(b"mine") + chunked(b"smuggled")], [chunked(b"next")])
        async with talker.client() as client:
            return [await ask(client, talker.url), await ask(client, talker.url), talker.connections]

    assert run(work) == [(200, b"mine"), (200, b"next"), 2]


def test_a_reader_who_takes_its_time_holds_the_server_up(monkeypatch):
    monkeypatch.setattr(module, "AHEAD", 1 << 14)
    block = b"x" * 4096
    size = 2000

    async def work():
        talker = Talker([HEAD + b"Content-Length: %d\r\n\r\n" % (size * len(block)), *[block] * size])
        async with talker.client() as client, client.stream("POST", talker.url, json={}) as reply:
            seen = most = 0
            async for part in reply.aiter_bytes():
                seen, most = seen + len(part), max(most, len(part))
                if seen < 1 << 20:
                    await asyncio.sleep(0.002)
            return seen, most < 1 << 20

    assert run(work) == (size * len(block), True)


def test_only_so_many_connections_are_kept():
    async def work():
        talker = Talker(*[[chunked(b"a")]] * 6, pause_s=0.02)
        async with talker.client(keep=2) as client:
            await asyncio.gather(*(ask(client, talker.url) for _ in range(6)))
            return len(client._idle)

    assert run(work) == 2


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "1",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def work():
        talker = Talker([chunked(b"secret")])
        async with talker.client(ssl=context) as client:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await ask(client, talker.url)
            client._context = ssl.create_default_context(cafile=str(certificate))
            return await ask(client, talker.url)

    assert run(work) == (200, b"secret")


@pytest.mark.parametrize(
    ("variables", "base", "is_direct"),
    [
        ({}, "http://example.org/v1", True),
        ({"http_proxy": "http://p:1"}, "http://example.org/v1", False),
        ({"http_proxy": "http://p:1"}, "https://example.org/v1", True),
        ({"all_proxy": "http://p:1"}, "https://example.org/v1", False),
        ({"all_proxy": "http://p:1", "no_proxy": "example.org"}, "https://example.org/v1", True),
        ({"http_proxy": "http://p:1"}, "http://localhost:1/v1", True),
    ],
)
def test_where_a_proxy_stands_between_httpx_does_it(monkeypatch, variables, base, is_direct):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    address = Address(base=base, key_env="NOT_SET_ANYWHERE", silence_s=1.0)
    assert (direct(base, address.settings(), 4) is not None) == is_direct
