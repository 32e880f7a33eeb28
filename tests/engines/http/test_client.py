"""How the engine uses its HTTP client, on real sockets: whatever a server does is an answer, `Broken`, or an error."""

import asyncio
import contextlib
import json
import ssl
import subprocess

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from satisfice.engines.http.wire import Address, Broken, Refused, ask, open_stream

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Talker:
    """Answers the nth request with the nth of `answers`, part by part; None in one hangs up."""

    def __init__(self, *answers, pause_s=0.0):
        self.answers, self.pause_s = list(answers), pause_s
        self.requests, self.connections, self.sent, self.gone = [], 0, 0, asyncio.Event()
        self._tasks = set()

    async def connection(self, reader, writer):
        self.connections += 1
        self._tasks.add(asyncio.current_task())
        try:
            await self.talk(reader, writer)
        except (
            ConnectionError,
            RuntimeError,
            asyncio.IncompleteReadError,
            asyncio.CancelledError,
        ):  # uvloop raises the second
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
                self.sent += len(part)
                await asyncio.sleep(self.pause_s)

    @contextlib.asynccontextmanager
    async def client(self, *, silence_s=5.0, key_env="NOT_SET_ANYWHERE", **options):
        server = await asyncio.start_server(self.connection, "127.0.0.1", 0, **options)
        self.port = server.sockets[0].getsockname()[1]
        scheme = "https" if options else "http"
        self.address = Address(base=f"{scheme}://127.0.0.1:{self.port}/v1", key_env=key_env, silence_s=silence_s)
        try:
            async with self.address.connect() as client:
                yield client
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ask(self, client, body=None, address=None):
        address = address or self.address
        async with ask(client, address, f"{address.base}/completions", body or {}) as response:
            return response.status, await response.read()


def run(work):
    """In both event loops: the gateway runs in uvloop, everything else in asyncio's own."""
    found = [asyncio.run(asyncio.wait_for(work(), 20)), uvloop.run(asyncio.wait_for(work(), 20))]
    assert found[0] == found[1]
    return found[0]


def chunked(*parts):
    return CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (*parts, b""))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_stream_does_not_depend_on_how_its_bytes_arrive(data):
    rows = [{"n": n} for n in range(data.draw(st.integers(0, 4)))]
    said = [b"data: %s\n\n" % json.dumps(row).encode() for row in rows] + [b"data: [DONE]\n\n"]
    body = b"".join(said)
    form = data.draw(st.sampled_from(["chunked", "sized", "to the end"]))
    answer = {
        "chunked": chunked(*said),
        "sized": HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        "to the end": HEAD + b"\r\n" + body,
    }[form]
    answer = data.draw(st.sampled_from([b"", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"])) + answer
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=6)))
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    pieces += [None] if form == "to the end" else []

    async def work():
        talker = Talker(pieces, pieces)
        found = []
        async with talker.client() as client:
            for _ in range(2):
                async with open_stream(client, talker.address, {}) as events:
                    found.append([event async for event in events])
        return found, talker.connections

    found, connections = asyncio.run(asyncio.wait_for(work(), 10))
    assert found == [rows, rows]
    assert connections == (2 if form == "to the end" else 1)  # used again where the server keeps it open


def test_what_is_sent(monkeypatch):
    monkeypatch.setenv("KEY_OF_THE_TEST", "secret")
    body = {"prompt": "Grüße \u2028", "n": [1, 2.5, None, True]}

    async def work():
        cookie = HEAD + b"Set-Cookie: who=me\r\nContent-Length: 0\r\n\r\n"
        talker = Talker([cookie], [cookie])
        async with talker.client(key_env="KEY_OF_THE_TEST") as client:
            for _ in range(2):
                await talker.ask(client, body)
        return talker.port, [request.partition(b"\r\n\r\n") for request in talker.requests]

    port, ((head, _, said), (second, _, _)) = asyncio.run(work())
    assert json.loads(said) == body
    first, *rows = head.decode().lower().split("\r\n")
    assert first == "post /v1/completions http/1.1"
    sent = dict(row.split(": ", 1) for row in rows)
    assert sent["host"] == f"127.0.0.1:{port}"
    assert (sent["authorization"], sent["content-type"]) == ("bearer secret", "application/json")
    assert sent["accept-encoding"] == "identity"
    assert b"cookie" not in second.lower()  # the next request may be another user's


@pytest.mark.parametrize(
    "answer",
    [
        [None],
        [HEAD, None],
        [HEAD + b"Content-Length: 9\r\n\r\nhalf", None],
        [CHUNKED + b"5\r\nhe", None],
        [CHUNKED + b"zz\r\n"],
        [b"SSH-2.0-OpenSSH_9.9\r\n"],
        [b"HTTP/1.1 200 OK\r\n" + b"a: " + b"b" * 9000 + b"\r\n"] * 9,
        [HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"],
    ],
    ids=["nothing", "headers", "half", "half-chunk", "no-chunk", "no-http", "headers-for-ever", "not-what-it-says"],
)
def test_what_breaks_off_may_be_tried_again(answer):
    async def work():
        talker = Talker(answer, [chunked(b"here")])
        async with talker.client() as client:
            with pytest.raises(Broken, match="the connection failed"):
                await talker.ask(client)
            return await talker.ask(client), talker.connections

    assert run(work) == ((200, b"here"), 2)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 103 Early\r\n\r\n", HEAD + b"Content-Length: 4\r\n\r\nab"])
def test_silence_ends(answer):
    async def work():
        talker = Talker([answer])
        async with talker.client(silence_s=0.2) as client:
            with pytest.raises(Broken, match=r"silent for 0\.2 s"):
                await talker.ask(client)

    run(work)


def test_a_server_that_says_a_little_now_and_then_is_not_silent():
    async def work():
        talker = Talker([HEAD + b"Content-Length: 20\r\n\r\n", *[b"a"] * 20], pause_s=0.05)
        async with talker.client(silence_s=0.3) as client:
            return await talker.ask(client)

    assert run(work) == (200, b"a" * 20)


def test_a_reader_who_takes_time_over_a_whole_answer_is_not_the_servers_silence():
    async def work():
        talker = Talker([chunked(b"here")])
        async with (
            talker.client(silence_s=0.2) as client,
            ask(client, talker.address, talker.address.base, {}) as response,
        ):
            await asyncio.sleep(0.5)
            return await response.read()

    assert run(work) == b"here"


def test_a_reader_who_takes_time_in_the_middle_is_not_the_servers_silence():
    async def work():  # aiohttp stops reading once it holds 128 KB that nobody took
        talker = Talker([HEAD + b"Content-Length: 1000000\r\n\r\n" + b"a" * 1_000_000])
        async with (
            talker.client(silence_s=0.2) as client,
            ask(client, talker.address, talker.address.base, {}) as response,
        ):
            await asyncio.sleep(0.5)
            return len(await response.read())

    assert run(work) == 1_000_000


def test_a_server_that_falls_silent_once_the_reader_goes_on_is_silent():
    async def work():
        talker = Talker([HEAD + b"Content-Length: 1000000\r\n\r\n" + b"a" * 400_000])
        async with (
            talker.client(silence_s=0.2) as client,
            ask(client, talker.address, talker.address.base, {}) as response,
        ):
            await asyncio.sleep(0.5)
            await response.read()

    with pytest.raises(Broken, match=r"silent for 0\.2 s"):
        run(work)


@pytest.mark.parametrize("base", ["http://127.0.0.1:1/v1", "http://[::1]:1/v1", "http://nowhere.invalid/v1"])
def test_nobody_there(base):
    async def work():
        talker = Talker()
        async with talker.client() as client:
            with pytest.raises(Broken, match=r"the connection failed|no connection"):
                await talker.ask(client, address=Address(base=base, key_env="NOT_SET_ANYWHERE", silence_s=1.0))

    run(work)


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again():
    async def work():
        talker = Talker([chunked(b"one"), None], [chunked(b"two")])
        async with talker.client() as client:
            said = [await talker.ask(client)]
            await asyncio.sleep(0.05)
            return [*said, await talker.ask(client)], talker.connections

    assert run(work) == ([(200, b"one"), (200, b"two")], 2)


def test_who_stops_reading_hangs_up():
    async def work():
        talker = Talker([CHUNKED, *[b"d\r\ndata: {}\n\n\r\n\r\n"] * 10_000], pause_s=0.001)
        async with talker.client() as client:
            async with open_stream(client, talker.address, {}) as events:
                async for _ in events:
                    break
            await asyncio.wait_for(talker.gone.wait(), 5)

    run(work)


def test_who_is_cancelled_hangs_up():
    async def work():
        talker = Talker([CHUNKED, *[b"1\r\na\r\n"] * 10_000], pause_s=0.001)
        async with talker.client() as client:
            task = asyncio.create_task(talker.ask(client))
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.wait_for(talker.gone.wait(), 5)
            with pytest.raises(asyncio.CancelledError):
                await task

    run(work)


def test_a_second_response_that_nobody_asked_for_is_thrown_away():
    async def work():
        talker = Talker([chunked(b"mine") + chunked(b"smuggled")], [chunked(b"next")])
        async with talker.client() as client:
            return [await talker.ask(client), await talker.ask(client), talker.connections]

    assert run(work) == [(200, b"mine"), (200, b"next"), 2]


def test_a_reader_who_takes_its_time_holds_the_server_up():
    size, block = 64 << 20, b"x" * (1 << 20)

    async def work():
        talker = Talker([HEAD + b"Content-Length: %d\r\n\r\n" % size, *[block] * (size // len(block))])
        async with talker.client() as client, ask(client, talker.address, talker.address.base, {}) as response:
            await asyncio.sleep(0.3)
            held = talker.sent < size // 2
            return held, sum([len(part) async for part in response.content.iter_any()])

    assert run(work) == (True, size)


def test_nobody_is_followed_elsewhere():
    async def work():
        talker = Talker([b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"])
        async with talker.client() as client:
            with pytest.raises(Refused, match="answered 307"):
                async with open_stream(client, talker.address, {}):
                    pass

    run(work)


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
            with pytest.raises(Broken, match="certificate"):
                await talker.ask(client)
            return talker.requests

    assert run(work) == []


@pytest.fixture
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    ("variables", "base", "proxy"),
    [
        ({}, "http://example.org/v1", None),
        ({"http_proxy": "http://p:1"}, "http://example.org/v1", "http://p:1"),
        ({"http_proxy": "http://p:1"}, "https://example.org/v1", None),
        ({"all_proxy": "http://p:1"}, "https://example.org/v1", "http://p:1"),
        ({"all_proxy": "http://p:1", "no_proxy": "example.org"}, "https://example.org/v1", None),
        ({"http_proxy": "http://p:1"}, "http://localhost:1/v1", None),
    ],
)
def test_which_proxy(monkeypatch, variables, base, proxy):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Address(base=base, key_env="NOT_SET_ANYWHERE", silence_s=1.0).proxy == proxy


@pytest.mark.usefixtures("no_proxies")
def test_a_proxy_is_asked_for_the_whole_address(monkeypatch):
    async def work():
        talker = Talker([chunked(b"from afar")])
        async with talker.client():
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{talker.port}")
            address = Address(base="http://nowhere.invalid/v1", key_env="NOT_SET_ANYWHERE", silence_s=5.0)
            async with address.connect() as client:
                return await talker.ask(client, address=address), talker.requests[0].split(b"\r\n")[0]

    assert run(work) == ((200, b"from afar"), b"POST http://nowhere.invalid/v1/completions HTTP/1.1")
