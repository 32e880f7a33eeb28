"""Providers with a chat route alone, and servers by name: what works through the gateway, and what is refused."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from tests.engines.servers import LoopbackServer
from tests.gateway.providers import OVERFLOWS, DeepSeek, Hiding, Inline, Ollama, Opened, OpenRouter, Provider
from tests.gateway.serving import Served, served, upstream

from satisfice.catalog import build, check_fit
from satisfice.core.errors import BadInput, Unfit
from satisfice.core.problem import Problem
from satisfice.core.session import Session, solve
from satisfice.engines import load_engine
from satisfice.gateway.settings import Settings

CHAT = "?route=chat"
THINKING, ANSWER = "so 12+34=46", "The answer is 46."
PROVIDERS = {
    DeepSeek: CHAT, OpenRouter: CHAT + "&model=deepseek/deepseek-r1", Ollama: CHAT, Inline: CHAT, Hiding: CHAT,
    Opened: CHAT,
}  # fmt: skip
MESSAGES = [{"role": "user", "content": "12 + 34"}]


def ask(gateway: Served, **more: Any) -> httpx.Response:
    body = {"messages": MESSAGES, **more}
    return httpx.post(gateway.url + "/v1/chat/completions", json=body, trust_env=False, timeout=30)


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


@pytest.fixture(params=list(PROVIDERS), ids=lambda kind: kind.__name__)
def provider(request: pytest.FixtureRequest) -> Any:
    with request.param() as server, served(upstream(server.url + PROVIDERS[request.param])) as gateway:
        server.chats.clear()
        yield server, gateway


def test_whole_answers_with_their_thinking_and_their_counts(provider: Any) -> None:
    server, gateway = provider
    made = ask(gateway, temperature=0.3).json()
    message, usage = made["choices"][0]["message"], made["usage"]
    shown = "" if isinstance(server, Hiding) else THINKING
    assert (message.get("reasoning") or "", message["content"].strip()) == (shown, ANSWER)
    assert made["choices"][0]["finish_reason"] == "stop"
    [body] = server.chats
    assert (body["messages"], body["temperature"]) == (MESSAGES, 0.3)
    assert "top_p" not in body
    pieces = 5 + (0 if isinstance(server, Hiding) else 6)
    if not isinstance(server, Inline | Opened):  # whose tags are pieces too
        assert usage["completion_tokens"] == pieces + server.hides + 2
    assert made["satisfice"]["ledger"]["spent"] == usage["completion_tokens"]
    rows = [row["choices"][0]["delta"] for row in events(ask(gateway, stream=True).text) if row["choices"]]
    assert "".join(row.get("content") or "" for row in rows).strip() == ANSWER
    assert "".join(row.get("reasoning") or "" for row in rows) == shown


@pytest.mark.parametrize("policy", ["first-finish(n=3)", "self-consistency(n=3)", "adaptive-consistency"])
def test_policies_over_whole_answers_run(provider: Any, policy: str) -> None:
    server, gateway = provider
    made = ask(gateway, satisfice={"policy": policy})
    assert made.status_code == 200
    assert made.json()["choices"][0]["message"]["content"].strip() == ANSWER
    assert len(server.chats) > 1
    assert made.json()["satisfice"]["chains"] == len(server.chats)


@pytest.mark.parametrize("policy", ["deer", "first-cue", "cap:10", "first-finish(stop=deer)"])
def test_rules_that_end_thinking_are_refused_in_a_sentence(provider: Any, policy: str) -> None:
    server, gateway = provider
    refused = ask(gateway, satisfice={"policy": policy})
    assert refused.status_code == 400
    assert "which the chat engine does not provide" in refused.json()["error"]["message"]
    assert not server.chats


def test_wishes_about_thinking_reach_the_provider_as_they_came(provider: Any) -> None:
    server, gateway = provider
    for wish in (
        {"reasoning": {"max_tokens": 2000}}, {"reasoning_effort": "low"}, {"thinking": {"type": "disabled"}},
        {"reasoning_effort": "none"},
    ):  # fmt: skip
        assert ask(gateway, max_tokens=50, **wish).status_code == 200
        assert {name: server.chats[-1][name] for name in wish} == wish


def test_a_budget_is_said_in_the_providers_words() -> None:
    with OpenRouter() as server:
        engine = load_engine(f"{server.url}{PROVIDERS[OpenRouter]}&budget=reasoning")
        check_fit([build("server-thinking-budget")], engine.name, engine.provides)

        async def work() -> Any:
            async with engine:
                problem = Problem(id="a", task="t@1", question="1", answer="46")
                return await solve(build("server-thinking-budget(tokens=2000)"), Session(engine, problem))

        assert asyncio.run(work()).text == ANSWER
        assert server.chats[-1]["reasoning"] == {"max_tokens": 2000}


def test_a_limit_ends_the_answer_with_length_and_its_text() -> None:
    with DeepSeek() as server, served(upstream(server.url + CHAT)) as gateway:
        for limit, reasoning, content in ((4, "so 12+34", ""), (9, THINKING, "The answer is ")):
            made = ask(gateway, max_tokens=limit).json()
            assert server.chats[-1]["max_tokens"] == limit
            choice = made["choices"][0]
            assert choice["finish_reason"] == "length"
            assert (choice["message"]["reasoning"], choice["message"]["content"]) == (reasoning, content)


def test_a_limit_is_the_clients_or_the_providers_and_a_prompts_length_is_no_guess_of_ours() -> None:
    with OpenRouter() as server, served(upstream(server.url + PROVIDERS[OpenRouter])) as gateway:
        long = [{"role": "user", "content": '{"a": [1, 2]} ' * 12_000}]  # by its words and signs more than the context
        assert ask(gateway, messages=long).status_code == 200
        assert "max_tokens" not in server.chats[-1]
        assert ask(gateway, max_tokens=500_000).status_code == 200
        assert server.chats[-1]["max_tokens"] == 163_840
        row = httpx.get(gateway.url + "/v1/models", trust_env=False).json()["data"][0]
        assert row["max_model_len"] == 163_840


@pytest.mark.parametrize("policy", ["full", "first-finish(n=3)"])
def test_a_client_that_leaves_stops_the_provider(policy: str) -> None:
    settings = Settings(keep_alive_s=0.05)  # a policy over several chains shows nothing else before it has decided
    with DeepSeek(pause_s=0.05) as server, served(upstream(server.url + CHAT), settings) as gateway:
        body = {"messages": MESSAGES, "stream": True, "satisfice": {"policy": policy}}
        with httpx.stream("POST", gateway.url + "/v1/chat/completions", json=body, trust_env=False):
            until = time.monotonic() + 10
            while not server.now:
                assert time.monotonic() < until
                time.sleep(0.005)
        while server.now:
            assert time.monotonic() < until
            time.sleep(0.005)
        sent = server.sent
        time.sleep(0.15)
        assert server.sent == sent


def test_first_finish_ends_the_other_streams() -> None:
    with DeepSeek(pause_s=0.02) as server, served(upstream(server.url + CHAT)) as gateway:
        assert ask(gateway, satisfice={"policy": "first-finish(n=3)"}).status_code == 200
        until = time.monotonic() + 5
        while server.now:
            assert time.monotonic() < until


def test_the_rule_in_shadow_is_counted_beside_the_answer() -> None:
    settings = Settings(policy=build("first-finish(n=2)"), shadow=True)
    with DeepSeek() as server, served(upstream(server.url + CHAT), settings) as gateway:
        made = ask(gateway).json()
        assert made["satisfice"]["shadow"] == "first-finish(n=2)"
        until = time.monotonic() + 10
        while gateway.gateway.metrics.same_answer.n == 0:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert gateway.gateway.metrics.same_answer.mean == 1.0


@pytest.mark.parametrize(
    ("fails", "status"),
    [
        ({"error": {"code": "server_error", "message": "Provider disconnected"},
          "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}, 502),
        ({"choices": [{"index": 0, "delta": {}, "finish_reason": "insufficient_system_resource"}]}, 502),
        ({"choices": [{"index": 0, "delta": [], "finish_reason": None}]}, 502),
    ],
    ids=["openrouter", "deepseek", "hostile"],
)  # fmt: skip
def test_a_fault_inside_a_stream_is_an_error_and_not_an_answer(fails: dict[str, Any], status: int) -> None:
    with OpenRouter(pause_s=0.02) as server, served(upstream(server.url + PROVIDERS[OpenRouter])) as gateway:
        server.fails = fails
        assert ask(gateway).status_code == status
        text = ask(gateway, stream=True).text
        assert events(text)[-1]["error"]["code"] == "upstream_failed"


@pytest.mark.parametrize("name", list(OVERFLOWS))
def test_an_overflow_is_recognised_in_everybodys_words(name: str) -> None:
    with Provider() as server, served(upstream(server.url + CHAT)) as gateway:
        server.refuses = OVERFLOWS[name]
        refused = ask(gateway)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert httpx.get(gateway.url + "/readyz", trust_env=False).status_code == 200


@pytest.mark.parametrize(("status", "told"), [(402, 402), (429, 429), (401, 502), (503, 502)])
def test_refusals_of_providers_reach_the_client(status: int, told: int) -> None:
    with DeepSeek() as server, served(upstream(server.url + CHAT + "&patience_s=0.1")) as gateway:
        server.refuses = status, {"error": {"message": "Insufficient Balance"}}
        assert ask(gateway).status_code == told


def test_texts_cannot_be_continued_there_and_tools_are_the_providers() -> None:
    with DeepSeek() as server, served(upstream(server.url + CHAT)) as gateway:
        body = {"prompt": "1 + 1", "max_tokens": 3}
        refused = httpx.post(gateway.url + "/v1/completions", json=body, trust_env=False)
        assert (refused.status_code, "chat route alone" in refused.text) == (400, True)
        tools = [{"type": "function", "function": {"name": "f"}}]
        passed = ask(gateway, tools=tools)
        assert json.loads(passed.headers["x-satisfice"]) == {"passed": "tools"}
        assert server.chats[-1]["tools"] == tools


def test_what_a_chat_route_is_not() -> None:
    with OpenRouter() as server:
        with pytest.raises(BadInput, match="serves 2 models"):
            load_engine(server.url + CHAT)
        with pytest.raises(BadInput, match=r"chat route alone, as most providers do, say so: \?route=chat"):
            load_engine(server.url + "?model=openai/o4-mini&template=<u>{question}<a><think>")
        with pytest.raises(BadInput, match="template has no meaning with route=chat"):
            load_engine(server.url + CHAT + "&template=x")
        with pytest.raises(BadInput, match="route must be completions or chat"):
            load_engine(server.url + "?route=text")
        assert load_engine(server.url + PROVIDERS[OpenRouter]).server.max_length == 163_840
    with Ollama() as server, pytest.raises(BadInput, match="puts prompts into the chat form once more"):
        load_engine(server.url + "?template=<u>{question}<a><think>")
    with LoopbackServer() as server, pytest.raises(BadInput, match="404"):
        load_engine(server.url + CHAT)


def test_a_bench_over_a_provider_votes_and_refuses_what_does_not_fit() -> None:
    with DeepSeek() as server:
        engine: Any = load_engine(server.url + CHAT)
        with pytest.raises(Unfit, match="deer needs"):
            check_fit([build("deer")], engine.name, engine.provides)

        async def work() -> list[Any]:
            async with engine:
                problem = Problem(id="a", task="t@1", question="1", answer="46")
                specs = ("full", "first-finish(n=4)", "self-consistency(n=3)")
                return [await solve(build(spec), Session(engine, problem)) for spec in specs]

        full, first, vote = asyncio.run(work())
        assert [s.error for s in (full, first, vote)] == [""] * 3
        assert (full.thinking, full.text, full.ended) == (THINKING, ANSWER, "model")
        assert full.ledger.spent == 13
        assert (first.text, vote.text) == (ANSWER, ANSWER)
        assert vote.ledger.spent == 39
