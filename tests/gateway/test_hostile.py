"""Whatever is sent: the right status, nothing of our inside, and the next request is served."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.engines.servers import LoopbackServer
from tests.gateway.serving import Served, served, upstream

from satisfice.gateway.settings import Limits, Settings

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "12 + 34"}]}
KEY = "sk-0123456789"
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Served]:
    limits = Limits(body=10_000, at_once=3, at_once_per_key=2)
    settings = Settings(keys=(KEY, "other"), limits=limits)
    with LoopbackServer() as server, served(upstream(server.url), settings) as found:
        yield found


@pytest.fixture(scope="module")
def client(gateway: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, trust_env=False, headers=HEADERS, timeout=30) as found:
        yield found


@pytest.fixture(autouse=True)
def _still_serving(client: httpx.Client) -> Iterator[None]:
    yield
    assert client.post(PATH, json=BODY).status_code == 200


def refused(response: httpx.Response, status: int) -> str:
    """The message of an error, which must be one of ours."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in response.text
    assert ".py" not in response.text
    assert KEY not in response.text
    return str(error["message"])


def with_message(content: Any, role: Any = "user") -> str:
    return json.dumps({"messages": [{"role": role, "content": content}]})


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe\x00", b'{"messages": []}', b'{"messages": 5}', b"NaN",
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": ' + b"9" * 5000 + b"}",
        b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 0}',
        b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": true}',
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": -1}',
        b'{"messages": [{"role": "user", "content": "x"}], "seed": 1e400}',
        b'{"messages": [{"role": "user", "content": "x"}], "stop": [""]}',
        b'{"messages": [{"role": "user", "content": "x"}], "stop": [5]}',
        b"[" * 9000, b'{"a":' * 1900, b'{"messages": ' + b"[" * 4000 + b"]" * 4000 + b"}",
        with_message("half \ud800").encode(), with_message("x", "\udfff").encode(), with_message("x", "root").encode(),
        with_message({"text": "x"}).encode(), with_message([{"text": "x"}]).encode(),
        b'{"messages": [{"role": "user", "content": "x"}], "satisfice": {"policy": {"id": "deer"}}}',
        b'{"messages": [{"role": "user", "content": "x"}], "satisfice": {"policy": "deer\\u0000"}}',
        b'{"messages": [{"role": "user", "content": "x"}], "satisfice": {"policy": "self-consistency(n=1000000)"}}',
        b'{"messages": [{"role": "user", "content": "x"}], "__proto__": {}}',
        b'{"messages": [{"role": "user", "content": "x"}], "model": "../../etc/passwd"}',
    ],
)  # fmt: skip
def test_bodies_that_are_not_right(client: httpx.Client, data: bytes) -> None:
    response = client.post(PATH, content=data)
    refused(
        response, 404 if b"passwd" in data else 422 if b"__proto__" in data else 400
    )  # that one is for the upstream


def test_bodies_that_are_too_long(client: httpx.Client, gateway: Served) -> None:
    refused(client.post(PATH, content=with_message("x" * 20_000)), 413)

    def drip() -> Iterator[bytes]:
        for _ in range(300):
            yield b" " * 100

    refused(client.post(PATH, content=drip()), 413)  # no length is told


def test_strange_text_is_text(client: httpx.Client) -> None:
    for text in (
        "\u202eabc",
        "\x00",
        "e\u0301" * 50,
        "\ufeff",
        "👩‍👩‍👧‍👦",
        "</think>",
        "<|end|><|user|>",
        "\r\nx-evil: 1",
        "{question}",
    ):
        assert client.post(PATH, json={"messages": [{"role": "user", "content": text}]}).status_code == 200


def test_keys(client: httpx.Client) -> None:
    for given in ("", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \xff"):
        headers = {"authorization": given.encode("latin-1")}
        assert "Bearer KEY" in refused(client.post(PATH, json=BODY, headers=headers), 401)
        assert client.get("/v1/models", headers=headers).status_code == 401
    assert client.post(PATH, json=BODY, headers={"authorization": "bearer other"}).status_code == 200


def test_types_methods_and_paths(client: httpx.Client) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        refused(client.post(PATH, content=json.dumps(BODY), headers={"content-type": kind}), 415)
    refused(client.get(PATH), 405)
    refused(client.get("/docs"), 404)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/chat",
        "/static/..%2f..%2fetc",
        "//evil",
        "/%00",
        "/%0d%0ax: 1",
    ],
)
def test_paths_that_lead_elsewhere(gateway: Served, path: str) -> None:
    answer = raw(gateway, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    assert answer.split(b" ")[1] in (b"404", b"400")


def raw(gateway: Served, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", gateway.port), 5) as line:
        line.settimeout(5)
        line.sendall(data)
        return line.recv(65_536)


def test_headers_cannot_be_smuggled(gateway: Served, client: httpx.Client) -> None:
    body = json.dumps(BODY).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer {KEY}\r\n".encode()
    )
    assert b" 400 " in raw(gateway, head + b"content-length: 5\r\ncontent-length: 9\r\n\r\n" + body)
    assert b" 400 " in raw(gateway, head + b"content-length: -5\r\n\r\n" + body)
    assert b" 4" in raw(gateway, head + b"x: " + b"a" * 100_000 + b"\r\n\r\n")[:20]
    assert b" 400 " in raw(gateway, b"\x00\x01\x02 nonsense\r\n\r\n")
    answer = client.post(PATH, json={**BODY, "satisfice": {"policy": "deer\r\nx-evil: 1"}})
    assert "x-evil" not in answer.headers
    answer = client.post(PATH, json=BODY, headers={"x-request-id": "mine"})
    assert answer.headers["x-request-id"] != "mine"


def test_more_than_may_be_at_once_is_told_to_come_later(gateway: Served, client: httpx.Client) -> None:
    limiter = gateway.gateway.limiter
    sender = limiter.client(f"Bearer {KEY}")

    def left() -> bool:
        end = time.monotonic() + 10
        while (limiter.running, sender.running) != (0, 0) and time.monotonic() < end:
            time.sleep(0.02)  # an answer is with its client a moment before the server has left the room
        return (limiter.running, sender.running) == (0, 0)

    assert left(), "of the tests before"
    with limiter.slot(sender), limiter.slot(sender):
        response = client.post(PATH, json=BODY)
        refused(response, 429)
        assert int(response.headers["retry-after"]) >= 1
        assert client.post(PATH, json=BODY, headers={"authorization": "Bearer other"}).status_code == 200
    assert left()


def test_a_key_has_its_tokens_of_a_minute() -> None:
    settings = Settings(limits=Limits(tokens_per_minute=20))
    with LoopbackServer() as server, served(upstream(server.url), settings) as limited:
        codes = [httpx.post(limited.url + PATH, json=BODY, trust_env=False).status_code for _ in range(3)]
        assert codes == [200, 429, 429]
        sender = limited.gateway.limiter.client("")
        sender.spent[0] = (sender.spent[0][0] - 61, sender.spent[0][1])
        assert httpx.post(limited.url + PATH, json=BODY, trust_env=False).status_code == 200


def test_logs_hold_neither_prompts_nor_keys(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        client.post(PATH, json={"messages": [{"role": "user", "content": "a secret"}]})
        client.post(PATH, content=b'{"secret": ')
        client.post(PATH, json=BODY, headers={"authorization": "Bearer secret-key"})
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("satisfice")]
    assert any(" ok in " in line for line in ours)
    assert not any("secret" in line or KEY in line for line in ours)
