"""Upstreams that misbehave, clients that leave or are slow: an honest error or an answer, never a hang."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.engines.servers import END, Fault, LoopbackServer
from tests.gateway.serving import Served, served, upstream

from satisfice.catalog import build
from satisfice.gateway.app import create_app
from satisfice.gateway.settings import Limits, Settings
from satisfice.gateway.upstream import Sources

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "12 + 34"}], "seed": 1}
QUICK = "?silence_s=1&patience_s=0.6"  # little patience, so that faults are told soon


def ask(gateway: Served, **more: Any) -> httpx.Response:
    return httpx.post(f"{gateway.url}/v1/chat/completions", json={**BODY, **more}, timeout=30, trust_env=False)


def soon(holds: Callable[[], bool], within_s: float = 15.0) -> None:
    """Wait until something holds."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def slowly(question: str, so_far: str) -> str:
    """Thinks for a long time."""
    return "so 46 Wait, " if len(so_far) < 20_000 else "</think>46" + END


def closed_early(question: str, so_far: str) -> str:
    """Thinks for ever unless it is made to answer."""
    _, closed, answer = so_far.partition("</think>\n\n")
    return (END if answer else "46") if closed else "so 46 "


def test_a_policy_runs_over_an_upstream() -> None:
    with LoopbackServer() as server, served(upstream(server.url), Settings(policy=build("first-cue"))) as gateway:
        made = ask(gateway).json()
        assert made["choices"][0]["message"]["content"] == "46"
        assert made["choices"][0]["message"]["reasoning"] == "12+34=46 so 46"
        assert (made["satisfice"]["stopped"], made["model"]) == ("rule", "toy")
        streamed = events(ask(gateway, stream=True).text)
        text = "".join(row["choices"][0]["delta"].get("reasoning", "") for row in streamed)
        assert text == "12+34=46 so 46"
        whole = ask(gateway, satisfice={"policy": "full"}).json()
        assert whole["choices"][0]["message"]["reasoning"].endswith("once more so 46")
        two = [
            {"role": "user", "content": "1"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "3"},
        ]
        assert ask(gateway, messages=two).status_code == 200


@pytest.mark.parametrize("kind", ["cut", "refuse", "status", "end"])
def test_a_fault_that_passes_is_not_noticed(kind: str) -> None:
    with LoopbackServer() as server, served(upstream(server.url)) as gateway:
        server.faults.append(Fault(kind, after=4))
        made = ask(gateway).json()
        assert made["choices"][0]["message"]["content"] == "46"
        assert made["choices"][0]["message"]["reasoning"].startswith("12+34=46 so 46")


@pytest.mark.parametrize("kind", ["garbage", "no_json", "strange", "error", "plain", "hang"])
def test_a_fault_that_stays_is_told(kind: str) -> None:
    with LoopbackServer() as server, served(upstream(server.url + QUICK)) as gateway:
        server.faults.extend([Fault(kind, after=3)] * 5)
        response = ask(gateway)
        assert response.status_code == 502
        assert response.json()["error"]["type"] == "upstream_error"
        server.faults.extend([Fault(kind, after=3)] * (5 - len(server.faults)))
        streamed = ask(gateway, stream=True)
        if streamed.status_code == 200:  # something had been shown
            assert events(streamed.text)[-1]["error"]["code"] == "upstream_failed"
            assert "[DONE]" not in streamed.text
        else:
            assert streamed.status_code == 502
        server.faults.clear()
        assert ask(gateway).json()["choices"][0]["message"]["content"] == "46"


def test_an_upstream_that_restarts_is_used_again_and_one_that_comes_late_too() -> None:
    server = LoopbackServer()
    with server:
        address = server.url
    with served(upstream(address + QUICK)) as gateway:
        assert httpx.get(f"{gateway.url}/readyz", trust_env=False).status_code == 503
        assert httpx.get(f"{gateway.url}/healthz", trust_env=False).status_code == 200
        refused = ask(gateway)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
        assert "127.0.0.1" not in refused.text
        with server:
            soon(lambda: httpx.get(f"{gateway.url}/readyz", trust_env=False).status_code == 200)
            assert ask(gateway).status_code == 200
        assert ask(gateway).status_code == 502
        with server:
            assert ask(gateway).status_code == 200


def test_another_upstream_takes_over() -> None:
    with (
        LoopbackServer() as first,
        LoopbackServer() as second,
        served(upstream(first.url + QUICK, second.url + QUICK)) as gateway,
    ):
        first.faults.append(Fault("garbage", after=0))
        assert ask(gateway).json()["choices"][0]["message"]["content"] == "46"
        assert second.requests
        first.stop()
        assert [ask(gateway).status_code for _ in range(3)] == [200] * 3
        rows = httpx.get(f"{gateway.url}/readyz", trust_env=False).json()
        assert [bool(row["problem"]) for row in rows["sources"]] == [True, False]
        assert rows["ready"]
        first.start()


def test_a_client_that_leaves_stops_the_upstream() -> None:
    with LoopbackServer(slowly, pause_s=0.01) as server, served(upstream(server.url)) as gateway:
        idle, address = gateway.tasks(), f"{gateway.url}/v1/chat/completions"
        with httpx.stream("POST", address, json={**BODY, "stream": True}, trust_env=False) as response:
            next(response.iter_bytes())
            assert server.now == 1
        soon(lambda: server.now == 0)
        sent = server.sent
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{gateway.url}/v1/chat/completions", json=BODY, timeout=0.5, trust_env=False)
        soon(lambda: server.now == 0 and server.hung_up >= 2)
        assert server.sent > sent
        soon(lambda: gateway.tasks() <= idle)
        soon(lambda: gateway.gateway.metrics.requests["cancelled"] == 2)
        soon(lambda: gateway.gateway.limiter.running == 0)


def test_a_slow_client_holds_up_nobody_and_is_hung_up_on() -> None:
    async def both(address: str) -> None:
        app = create_app(upstream(address), Settings(slow_s=0.3))
        async with app.router.lifespan_context(app):
            taken: list[Any] = []

            async def stuck(message: Any) -> None:
                taken.append(message)
                if len(taken) > 3:
                    await asyncio.Event().wait()

            slow = asyncio.create_task(app(*_request({**BODY, "stream": True}), stuck))
            async with asyncio.timeout(10):
                while len(taken) < 4:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as other:
                assert (await other.get("/healthz")).status_code == 200
                quick = {**BODY, "max_tokens": 5, "satisfice": {"policy": "nothinking"}}
                assert (await other.post("/v1/chat/completions", json=quick)).status_code == 200
            async with asyncio.timeout(10):
                await slow
            assert app.state.gateway.metrics.requests == {"ok": 1, "cancelled": 1}
            assert app.state.gateway.limiter.running == 0

    with LoopbackServer(slowly, pause_s=0.005) as server:
        asyncio.run(both(server.url))
        soon(lambda: server.now == 0)


def _request(body: dict[str, Any]) -> tuple[dict[str, Any], Callable[[], Any]]:
    """An ASGI request whose client stays."""
    said = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> Any:
        return said.pop() if said else await asyncio.Event().wait()

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers, "query_string": b""}
    return scope, receive


def test_time_ends_in_an_answer() -> None:
    with LoopbackServer(closed_early, pause_s=0.01) as server:
        settings = Settings(limits=Limits(seconds=0.5, answer_seconds=5))
        with served(upstream(server.url), settings) as gateway:
            made = ask(gateway).json()
            assert made["choices"][0]["message"]["content"] == "46"
            assert made["satisfice"]["stopped"] == "time"


def test_tools_and_structured_output_are_passed_through_untouched() -> None:
    with LoopbackServer() as server, served(upstream(server.url)) as gateway:
        response = ask(gateway, tools=[{"type": "function", "function": {"name": "add"}}])
        assert json.loads(response.headers["x-satisfice"]) == {"passed": "tools"}
        assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})  # this upstream has no chat
        plain = {"prompt": "1 + 1 = ", "max_tokens": 5, "stream": True}
        passed = httpx.post(f"{gateway.url}/v1/completions", json=plain, trust_env=False)
        assert json.loads(passed.headers["x-satisfice"]) == {"passed": "prompt"}
        assert passed.text.rstrip().endswith("data: [DONE]")
        assert server.requests[-1] == {**plain, "model": "toy"}
        soon(lambda: gateway.gateway.metrics.requests["passed"] == 2)


def test_shadow_answers_untouched_and_says_what_the_rule_would_have_spent() -> None:
    settings = Settings(policy=build("first-cue"), shadow=True)
    with LoopbackServer() as server, served(upstream(server.url), settings) as gateway:
        for _ in range(3):
            made = ask(gateway).json()
            assert made["satisfice"]["policy"] == "full"
            assert made["satisfice"]["shadow"] == "first-cue"
            assert "once more" in made["choices"][0]["message"]["reasoning"]
        metrics = gateway.gateway.metrics
        soon(lambda: metrics.ruled.n == 3)
        assert metrics.ruled.mean < metrics.control.mean
        assert metrics.same_answer.mean == 1.0


def test_a_share_without_a_rule_shows_what_rules_save() -> None:
    settings = Settings(policy=build("first-cue"), control=0.5)
    with LoopbackServer() as server, served(upstream(server.url), settings) as gateway:
        with httpx.Client(trust_env=False, base_url=gateway.url) as client:
            told = [client.post("/v1/chat/completions", json=BODY).json()["satisfice"] for _ in range(100)]
        kinds = [row.get("control") for row in told]
        assert 25 < kinds.count("first-cue") < 75
        assert {row["policy"] for row in told if row.get("control")} == {"full"}
        found = httpx.get(f"{gateway.url}/figures", trust_env=False).json()["saving"]
        assert 0 < found["low"] <= found["mean"] <= found["high"] < 1


def test_comments_keep_a_silent_stream_open() -> None:
    with LoopbackServer(pause_s=0.02) as server, served(upstream(server.url), Settings(keep_alive_s=0.1)) as gateway:
        text = ask(gateway, stream=True, satisfice={"policy": "first-finish", "n": 2}).text
        assert text.startswith(": still thinking")
        assert text.rstrip().endswith("data: [DONE]")


def test_an_upstream_without_addresses_is_no_gateway() -> None:
    with served(Sources([])) as gateway, contextlib.suppress(httpx.HTTPError):
        assert ask(gateway).status_code == 503
