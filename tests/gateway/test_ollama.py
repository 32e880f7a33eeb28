"""Ollama's chat and generate with its official client: on the bundled model under a rule, and in front of upstreams."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.servers import Fault, LoopbackServer
from tests.gateway.imitations import Imitation
from tests.gateway.serving import Served, local, served, upstream
from tests.gateway.test_anthropic import JSON, OUTCOME, PIECES
from tests.gateway.test_clients import LONGER, MESSAGES, PROBLEM
from tests.gateway.test_faults import QUICK, slowly, soon

from satisfice.catalog import build
from satisfice.core.errors import BadInput
from satisfice.engines.local.engine import LocalEngine
from satisfice.gateway.failures import RequestRefused
from satisfice.gateway.ollama import Encoder, read_chat, read_generate
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.settings import Settings

QUESTION: Any = [{"role": "user", "content": "12 + 34 ="}]
SEED: Any = {"seed": 1}
TOOL: Any = {"type": "function", "function": {
    "name": "add", "description": "Add.", "parameters": {"type": "object", "properties": {}}}}  # fmt: skip


OPENED: list[ollama.Client] = []


@pytest.fixture(scope="module")
def gateway() -> Iterator[Served]:
    with served(local(LocalEngine()), Settings(policy=build("deer"))) as found:
        yield found


@pytest.fixture(scope="module")
def client(gateway: Served) -> Iterator[ollama.Client]:
    found = ollama.Client(host=gateway.url, trust_env=False)
    yield found
    found._client.close()


def client_of(gateway: Served) -> ollama.Client:
    """Return a client that is closed when the test ends."""
    OPENED.append(ollama.Client(host=gateway.url, trust_env=False))
    return OPENED[-1]


@pytest.fixture(autouse=True)
def _closes_clients() -> Iterator[None]:
    yield
    for found in OPENED:
        found._client.close()
    OPENED.clear()


def post(gateway: Served, path: str, **body: Any) -> httpx.Response:
    return httpx.post(gateway.url + path, json=body, trust_env=False, timeout=30)


def test_thinking_and_answer_come_apart_and_the_rule_looks(client: ollama.Client, gateway: Served) -> None:
    made = client.chat("pocket", LONGER, options=SEED)
    assert made.message.content
    assert made.message.thinking
    assert (made.done, made.done_reason) == (True, "stop")
    assert made.prompt_eval_count is not None
    assert made.prompt_eval_count > 5
    assert made.eval_duration
    said = post(gateway, "/api/chat", model="pocket", messages=LONGER, options=SEED, stream=False).json()
    assert said["satisfice"]["policy"] == "deer"
    assert said["satisfice"]["looks"] > 0
    assert said["satisfice"]["ledger"]["spent"] == said["eval_count"] == made.eval_count
    assert said["message"]["thinking"] == made.message.thinking
    full: Any = {"model": "pocket", "messages": LONGER, "options": SEED, "satisfice": {"policy": "full"}}
    assert said["eval_count"] < post(gateway, "/api/chat", stream=False, **full).json()["eval_count"]


@pytest.mark.parametrize("kind", ["chat", "generate"])
def test_a_stream_adds_up_to_the_whole(client: ollama.Client, kind: str) -> None:
    call: Any = client.chat if kind == "chat" else client.generate
    asked: Any = {"messages": LONGER} if kind == "chat" else {"prompt": LONGER[0]["content"]}
    whole = call("pocket", options=SEED, **asked)
    parts = list(call("pocket", options=SEED, stream=True, **asked))
    assert len(parts) > 6
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    said = [part.message if kind == "chat" else part for part in parts]
    last = whole.message if kind == "chat" else whole
    text = "content" if kind == "chat" else "response"
    assert "".join(part[text] for part in said) == last[text] != ""
    assert "".join(part.thinking or "" for part in said) == last.thinking != ""
    assert parts[-1].eval_count == whole.eval_count
    assert parts[-1].prompt_eval_count == whole.prompt_eval_count
    assert {part.created_at for part in parts} == {parts[0].created_at}


def test_a_response_is_streamed_unless_the_request_says_no(gateway: Served) -> None:
    response = post(gateway, "/api/chat", model="pocket:latest", messages=MESSAGES, options=SEED)
    assert response.headers["content-type"] == "application/x-ndjson"
    rows = [json.loads(line) for line in response.text.splitlines()]
    assert "".join(row["message"]["content"] for row in rows) == PROBLEM.answer
    assert rows[-1]["satisfice"]["policy"] == "deer"


def test_think_switches_and_bounds_thinking(client: ollama.Client, gateway: Served) -> None:
    assert not client.chat("pocket", MESSAGES, think=False, options=SEED).message.thinking
    assert client.chat("pocket", MESSAGES, think=True, options=SEED).message.content == PROBLEM.answer
    for think, policy in ((False, "nothinking"), ("low", "deer")):
        said = post(gateway, "/api/generate", model="pocket", prompt="12 + 34 =", think=think, stream=False).json()
        assert said["satisfice"]["policy"] == policy
    full: Any = {"model": "pocket", "messages": LONGER, "stream": False, "satisfice": {"policy": "full"},
                 "options": {"seed": 1, "num_predict": 100}}  # fmt: skip
    low, most = (post(gateway, "/api/chat", think=think, **full).json() for think in ("low", "max"))
    assert len(low["message"]["thinking"]) < len(most["message"]["thinking"])


def test_options_reach_the_sampler_and_limits_end_the_answer(client: ollama.Client, gateway: Served) -> None:
    cut = client.chat("pocket", MESSAGES, think=False, options={"num_predict": 1, "num_ctx": 4096})
    assert cut.done_reason == "length"
    stopped = client.chat("pocket", MESSAGES, options={"seed": 1, "stop": [PROBLEM.answer[-1]]})
    assert PROBLEM.answer[-1] not in (stopped.message.content or "")
    greedy: Any = {"satisfice": {"policy": "full"}, "model": "pocket", "messages": MESSAGES, "stream": False}
    cold = post(gateway, "/api/chat", options={"temperature": 0}, **greedy).json()
    hot = post(gateway, "/api/chat", options={"temperature": 2, "top_k": 1}, **greedy).json()
    assert hot["message"] == cold["message"]
    assert "ignored" not in hot["satisfice"]


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        ("chat", {"tools": [TOOL]}, "tools: the model of this server cannot do that"),
        ("chat", {"format": "json"}, "format: the model of this server cannot do that"),
        (
            "chat",
            {"messages": [*MESSAGES, {"role": "assistant", "content": "It is"}]},
            "the last one is the assistant's",
        ),
        ("chat", {"messages": [{"role": "user", "images": ["eHh4eHh4"]}]}, "messages: the model of this server cannot"),
        ("generate", {"prompt": "x", "images": ["eHh4eHh4"]}, "images: the model of this server cannot do that"),
        ("chat", {"messages": []}, "messages: must have at least 1 entries"),
        ("chat", {"messages": [{"role": "user", "images": ["/etc/passwd!"]}]}, "images: must be images in base64"),
        ("chat", {"think": "some"}, "think: must be true, false, or one of low, medium, high, max"),
        ("chat", {"options": {"num_predict": 0}}, "num_predict: must be at least 1"),
        ("chat", {"options": {"echo": True}}, "echo: it is no field of this route"),
        ("chat", {"options": {"chat_template": "x"}}, "chat_template: this server does not take it"),
        ("chat", {"satisfice": {"policy": "dear"}}, "Did you mean 'deer'"),
        ("chat", {"messages": [{"role": "user", "content": "1 " * 3000}]}, "maximum context length"),
        ("generate", {"prompt": "x", "raw": True}, "raw: this server does not take it. Use /v1/completions"),
        ("generate", {"prompt": "x", "template": "{{ .Prompt }}"}, "template: this server does not take it"),
        ("generate", {"prompt": "x", "context": [1, 2]}, "Send the conversation to /api/chat"),
        ("generate", {"prompt": ""}, "prompt: must not be empty"),
    ],
)
def test_mistakes_are_told_in_its_own_form(gateway: Served, path: str, fields: Any, words: str) -> None:
    response = post(
        gateway, f"/api/{path}", **{"model": "pocket", **({"messages": MESSAGES} if path == "chat" else {}), **fields}
    )
    assert response.status_code == 400, response.text
    assert list(response.json()) == ["error"]
    assert words in response.json()["error"]


def test_a_model_that_is_not_there(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="There is 'pocket'") as told:
        client.chat("qwen3", MESSAGES)
    assert told.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="There is 'pocket'"):
        client.show("qwen3")


def test_what_it_says_of_its_model(client: ollama.Client, gateway: Served) -> None:
    assert [model.model for model in client.list().models] == ["pocket"]
    shown = client.show("pocket")
    assert shown.capabilities == ["completion", "thinking"]
    assert shown.modelinfo is not None
    lengths = [value for name, value in shown.modelinfo.items() if name.endswith(".context_length")]
    assert lengths == [gateway.gateway.sources.first.engine.max_length]  # type: ignore[union-attr]
    assert httpx.get(f"{gateway.url}/api/version", trust_env=False).json()["version"].count(".") == 2
    with Imitation(extended=True) as server, served(upstream(server.url)) as remote:
        assert client_of(remote).show("toy").capabilities == ["completion", "thinking", "tools"]


def test_keys_are_asked_for_here_too() -> None:
    with served(local(LocalEngine()), Settings(keys=("secret",))) as locked:
        with pytest.raises(ollama.ResponseError) as told:
            client_of(locked).list()
        assert told.value.status_code == 401
        known = ollama.Client(host=locked.url, headers={"authorization": "Bearer secret"}, trust_env=False)
        OPENED.append(known)
        assert known.chat("pocket", MESSAGES, options=SEED).message.content == PROBLEM.answer


@pytest.mark.parametrize("stream", [False, True])
def test_an_agents_turn_goes_there_and_back(stream: bool) -> None:
    with (
        Imitation(extended=True) as server,
        served(upstream(server.url), Settings(policy=build("first-cue"))) as gateway,
    ):
        client = client_of(gateway)
        made: Any = client.chat("toy", QUESTION, tools=[TOOL], stream=stream)
        parts = list(made) if stream else [made]
        [call] = [call for part in parts for call in part.message.tool_calls or ()]
        assert (call.function.name, call.function.arguments) == ("add", {"a": 12})
        thinking = "".join(part.message.thinking or "" for part in parts)
        assert thinking == "12+34=46 so 46"
        sent = server.chats[-1]
        assert sent["tools"][0]["function"]["name"] == "add"
        turns = [*QUESTION, ollama.Message(role="assistant", thinking=thinking, tool_calls=[call]),
                 {"role": "tool", "tool_name": "add", "content": "46"}]  # fmt: skip
        client.chat("toy", turns, tools=[TOOL])
        said = server.chats[-1]["messages"]
        assert [turn["role"] for turn in said] == ["user", "assistant", "tool", "assistant"]
        assert said[1]["reasoning_content"] == thinking
        assert said[1]["tool_calls"][0]["id"] == said[2]["tool_call_id"]
        assert json.loads(said[1]["tool_calls"][0]["function"]["arguments"]) == {"a": 12}


def test_formats_and_images_over_an_upstream() -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}}
    with Imitation(extended=True) as server, served(upstream(server.url)) as gateway:
        client = client_of(gateway)
        made = client.chat("toy", QUESTION, format=schema)
        assert json.loads(made.message.content or "") == {"answer": 46}
        assert server.chats[-1]["response_format"]["json_schema"]["schema"] == schema
        assert (made.prompt_eval_count, made.eval_count) == (9, 7)
        assert made.eval_duration
        client.generate("toy", "12 + 34 =", format="json")
        assert server.chats[-1]["response_format"] == {"type": "json_object"}
        answer = client.generate("toy", "What?", images=[b"\xff\xd8\xff\xe0picture data"], stream=True)
        assert "".join(part.response for part in answer) == "46"
        address = server.chats[-1]["messages"][0]["content"][1]["image_url"]["url"]
        assert address.startswith("data:image/jpeg;base64,")


def test_a_fault_in_a_stream_is_told_and_who_leaves_stops_the_spending() -> None:
    with LoopbackServer(slowly, pause_s=0.01) as server, served(upstream(server.url + QUICK)) as gateway:
        client = client_of(gateway)
        stream = client.chat("toy", QUESTION, stream=True)
        next(iter(stream))
        assert server.now == 1
        stream.close()  # type: ignore[attr-defined]
        soon(lambda: server.now == 0)
        sent = server.sent
        soon(lambda: gateway.gateway.limiter.running == 0)
        assert server.sent <= sent + 1
        server.faults.extend([Fault("garbage", after=6)] * 5)
        with pytest.raises(ollama.ResponseError, match="failed while it worked"):
            list(client.chat("toy", QUESTION, stream=True))


def test_signs_of_life_are_lines_too() -> None:
    voting = Settings(policy=build("first-finish(n=2)"), keep_alive_s=0.02)
    with Imitation(extended=True, pause_s=0.01) as server, served(upstream(server.url), voting) as gateway:
        parts = list(client_of(gateway).chat("toy", QUESTION, stream=True))
        assert [part.message.content for part in parts[:3]] == ["", "", ""]
        assert "".join(part.message.content or "" for part in parts) == "46"


@given(PIECES, st.booleans(), st.integers(1, 3))
def test_any_stream_adds_up_to_its_whole(pieces: list[Delta], chat: bool, width: int) -> None:
    def new() -> Encoder:
        return Encoder(model="m", created=7, chat=chat)

    form, data = new(), b""
    for at in range(0, max(1, len(pieces)), width):
        data += form.chunk(pieces[at : at + width], first=at == 0)
    data += form.last_chunk(OUTCOME, 0, {"looks": 0}) + form.end([OUTCOME])
    kind: Any = ollama.ChatResponse if chat else ollama.GenerateResponse
    rows = [kind.model_validate_json(line) for line in data.splitlines()]
    assert [row.done for row in rows] == [False] * (len(rows) - 1) + [True]
    whole = new().whole([pieces], [OUTCOME], {"looks": 0})
    last = whole["message"] if chat else whole
    said = [json.loads(line) for line in data.splitlines()]
    parts = [row["message"] if chat else row for row in said]
    name = "content" if chat else "response"
    assert "".join(part[name] for part in parts) == last[name]
    assert "".join(part.get("thinking", "") for part in parts) == last.get("thinking", "")
    assert [call for part in parts for call in part.get("tool_calls", [])] == last.get("tool_calls", [])
    ending = ("done", "done_reason", "eval_count", "prompt_eval_count", "satisfice", "created_at")
    assert {key: said[-1][key] for key in ending} == {key: whole[key] for key in ending}


TURNS: Any = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
        optional={
            "content": st.text(max_size=3) | JSON, "thinking": JSON,
            "images": st.lists(st.text(max_size=5), max_size=2),
            "tool_calls": st.just([{"function": {"name": "add", "arguments": {"a": 1}}}]) | JSON, "tool_name": JSON,
        },
    ), max_size=3,
)  # fmt: skip


@given(TURNS | JSON, st.fixed_dictionaries({}, optional=dict.fromkeys(
    ["tools", "think", "format", "options", "system", "images", "model", "logprobs"], JSON)))  # fmt: skip
def test_any_body_is_read_or_refused(turns: Any, more: Any) -> None:
    for read, body in ((read_chat, {"messages": turns}), (read_generate, {"prompt": "x"})):
        try:
            request = read({**body, **more})
        except (RequestRefused, BadInput):
            continue
        assert request.stream
        assert {turn["role"] for turn in request.messages} <= {"system", "user", "assistant", "tool"}
        assert all(turn["content"] is not None for turn in request.messages)
        assert all(turn["tool_call_id"] for turn in request.messages if turn["role"] == "tool")
