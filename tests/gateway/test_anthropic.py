"""Anthropic's Messages with its official client: on the bundled model under a rule, and in front of upstreams."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tests.gateway.imitations import Imitation
from tests.gateway.serving import Served, local, served, upstream
from tests.gateway.test_clients import LONGER, MESSAGES, PROBLEM
from tests.gateway.test_faults import QUICK, slowly, soon

from satisfice.catalog import build
from satisfice.core.errors import BadInput
from satisfice.core.ledger import Ledger
from satisfice.engines.local.engine import LocalEngine
from satisfice.gateway.anthropic import Encoder, read_messages
from satisfice.gateway.failures import RequestRefused
from satisfice.gateway.generation import Outcome
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.settings import Settings

EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
SHOWN: Any = {"type": "enabled", "budget_tokens": 900}
TOOL: Any = {"name": "add", "description": "Add.", "input_schema": {"type": "object"}}
QUESTION: Any = [{"role": "user", "content": "12 + 34 ="}]


OPENED: list[anthropic.Anthropic] = []


@pytest.fixture(scope="module")
def gateway() -> Iterator[Served]:
    with served(local(LocalEngine()), Settings(policy=build("deer"))) as found:
        yield found


@pytest.fixture(scope="module")
def client(gateway: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key="any", max_retries=0) as found:
        yield found


def client_of(gateway: Served) -> anthropic.Anthropic:
    """Return a client that is closed when the test ends."""
    OPENED.append(anthropic.Anthropic(base_url=gateway.url, api_key="any", max_retries=0))
    return OPENED[-1]


@pytest.fixture(autouse=True)
def _closes_clients() -> Iterator[None]:
    yield
    for found in OPENED:
        found.close()
    OPENED.clear()


def ask(client: anthropic.Anthropic, messages: Any = MESSAGES, *, max_tokens: int = 900, **more: Any) -> Message:
    body = {"seed": 1, **more.pop("extra_body", {})}
    made = client.messages.create(model=more.pop("model", "pocket"), messages=messages, max_tokens=max_tokens,
                                  extra_body=body, **more)  # fmt: skip
    return Message.model_validate(made.to_dict(), strict=True)


def test_thinking_and_answer_come_apart_and_the_rule_looks(client: anthropic.Anthropic) -> None:
    made = ask(client, LONGER, thinking=SHOWN)
    thinking, text = made.content
    assert isinstance(thinking, anthropic.types.ThinkingBlock)
    assert isinstance(text, anthropic.types.TextBlock)
    assert thinking.thinking
    assert thinking.signature
    assert made.stop_reason == "end_turn"
    assert made.usage.input_tokens > 5
    assert made.usage.output_tokens_details is not None
    assert 0 < made.usage.output_tokens_details.thinking_tokens < made.usage.output_tokens
    said = made.satisfice  # type: ignore[attr-defined]
    assert said["policy"] == "deer"
    assert said["looks"] > 0
    assert said["ledger"]["spent"] == made.usage.output_tokens
    full = ask(client, LONGER, thinking=SHOWN, extra_body={"satisfice": {"policy": "full"}})
    assert made.usage.output_tokens < full.usage.output_tokens


def test_without_a_word_about_thinking_it_is_not_shown(client: anthropic.Anthropic) -> None:
    made = ask(client)
    assert [block.type for block in made.content] == ["text"]
    assert made.content[0].text == PROBLEM.answer  # type: ignore[union-attr]
    assert made.satisfice["policy"] == "deer"  # type: ignore[attr-defined]
    omitted = ask(client, thinking={**SHOWN, "display": "omitted"})
    assert [block.type for block in omitted.content] == ["thinking", "text"]
    assert omitted.content[0].thinking == ""  # type: ignore[union-attr]


def test_a_stream_adds_up_to_the_whole(client: anthropic.Anthropic) -> None:
    whole = ask(client, LONGER, thinking=SHOWN)
    events = list(client.messages.create(
        model="pocket", messages=LONGER, max_tokens=900, thinking=SHOWN, stream=True, extra_body={"seed": 1}
    ))  # fmt: skip
    for event in events:
        EVENTS.validate_python(event.to_dict(), strict=True)
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_delta") > 6  # piece by piece
    with client.messages.stream(
        model="pocket", messages=LONGER, max_tokens=900, thinking=SHOWN, extra_body={"seed": 1}
    ) as stream:
        made = stream.get_final_message()
    assert [block.to_dict() for block in made.content] == [block.to_dict() for block in whole.content]
    assert made.usage.to_dict() == whole.usage.to_dict()
    assert made.stop_reason == whole.stop_reason
    told = events[-2].to_dict()["satisfice"]
    assert {**told["ledger"], "wall_s": 0} == {**whole.satisfice["ledger"], "wall_s": 0}  # type: ignore[attr-defined, index]


@pytest.mark.parametrize(
    ("fields", "policy"),
    [
        ({"thinking": {"type": "disabled"}}, "nothinking"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, "deer"),
        ({"extra_body": {"satisfice": {"policy": "full"}}}, "full"),
    ],
)
def test_thinking_is_switched_by_its_own_field(client: anthropic.Anthropic, fields: Any, policy: str) -> None:
    made = ask(client, **fields)
    assert made.satisfice["policy"] == policy  # type: ignore[attr-defined]
    assert made.content[-1].type == "text"


def test_adaptive_with_an_effort_is_still_for_a_rule_to_decide() -> None:
    request = read_messages({
        "max_tokens": 9, "messages": QUESTION, "thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}
    })  # fmt: skip
    assert (request.thinking.automatic, request.thinking.share) == (True, 0.2)


def test_a_budget_binds_and_stop_reasons_say_what_ended_it(client: anthropic.Anthropic) -> None:
    full = {"satisfice": {"policy": "full"}}
    short = ask(client, LONGER, thinking={"type": "enabled", "budget_tokens": 7}, extra_body=full)
    assert short.usage.output_tokens_details is not None
    assert short.usage.output_tokens_details.thinking_tokens <= 7
    stopped = ask(client, stop_sequences=[PROBLEM.answer[-1]])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", PROBLEM.answer[-1])
    assert PROBLEM.answer[-1] not in "".join(block.text for block in stopped.content)  # type: ignore[union-attr]
    cut = ask(client, max_tokens=1, thinking={"type": "disabled"})
    assert cut.stop_reason == "max_tokens"


def test_tokens_are_counted_as_the_message_counts_them(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model="pocket", messages=MESSAGES)
    assert counted.input_tokens == ask(client).usage.input_tokens
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.0\.role: must be one of"):
        client.messages.count_tokens(model="pocket", messages=[{"role": "root", "content": "x"}])  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {
                "system": "x",
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "data:,"}}]}
                ],
            },
            "messages: the model of this server",
        ),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, r"output_config\.format: the model of"),
        ({"tools": [TOOL]}, "tools: the model of this server cannot do that"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "Anthropic's own servers run"),
        ({"messages": [*MESSAGES, {"role": "assistant", "content": "It is"}]}, "the last one is the assistant's"),
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]},
            "'document' cannot be read",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "needs the tool_use_id"),
        ({"extra_body": {"n": 2}}, "n: it is no field of this route"),
        ({"extra_body": {"logprobs": True}}, "logprobs: it is no field of this route"),
        ({"extra_body": {"container": "c"}}, "container: runs code"),
        ({"extra_body": {"chat_template": "c"}}, "chat_template: this server does not take it"),
        ({"extra_body": {"satisfice": {"policy": "dear"}}}, "Did you mean 'deer'"),
        ({"max_tokens": 0}, "max_tokens: must be at least 1"),
        ({"messages": [{"role": "user", "content": "1 " * 3000}]}, r"prompt is too long: .* length is \d+ tokens"),
    ],
)
def test_mistakes_are_told_in_its_own_form(client: anthropic.Anthropic, fields: Any, words: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=words) as told:
        ask(client, **fields)
    assert told.value.body["type"] == "error"  # type: ignore[index, call-overload]
    assert told.value.body["error"]["type"] == "invalid_request_error"  # type: ignore[index, call-overload]


def test_unknown_models_routes_and_keys(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="There is 'pocket'") as told:
        ask(client, model="claude")
    assert told.value.body["error"]["type"] == "not_found_error"  # type: ignore[index, call-overload]
    with served(local(LocalEngine()), Settings(keys=("secret",))) as locked:
        with pytest.raises(anthropic.AuthenticationError):
            ask(client_of(locked))
        with anthropic.Anthropic(base_url=locked.url, api_key="secret", max_retries=0) as known:
            assert ask(known).content


def test_an_agents_turn_goes_there_and_back() -> None:
    """Tools under a rule: the thinking is the rule's, the call the upstream's, and the next turn has both."""
    with (
        Imitation(extended=True) as server,
        served(upstream(server.url), Settings(policy=build("first-cue"))) as gateway,
    ):
        client = client_of(gateway)
        made = ask(client, QUESTION, model="toy", thinking=SHOWN, tools=[TOOL], tool_choice={"type": "any"})
        assert [block.type for block in made.content] == ["thinking", "tool_use"]
        assert made.stop_reason == "tool_use"
        thinking, use = made.content
        assert use.input == {"a": 12}  # type: ignore[union-attr]
        assert made.satisfice["policy"] == "first-cue"  # type: ignore[attr-defined]
        sent = server.chats[-1]
        assert sent["tools"] == [{"type": "function", "function": {
            "name": "add", "description": "Add.", "parameters": {"type": "object"}}}]  # fmt: skip
        assert sent["tool_choice"] == "required"
        assert sent["messages"][-1]["content"].startswith("<think>" + thinking.thinking)  # type: ignore[union-attr]
        result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "46"}]}  # type: ignore[union-attr]
        hidden = {"type": "redacted_thinking", "data": "x"}
        turns: Any = [
            *QUESTION,
            {"role": "assistant", "content": [hidden, *(block.to_dict() for block in made.content)]},
            {"role": "user", "content": [result, {"type": "text", "text": "So?"}]},
        ]
        with client.messages.stream(model="toy", messages=turns, max_tokens=900, tools=[TOOL]) as stream:
            again = stream.get_final_message()
        assert again.content[-1].input == {"a": 12}  # type: ignore[union-attr]
        said = server.chats[-1]["messages"]
        assert [turn["role"] for turn in said] == ["user", "assistant", "tool", "user", "assistant"]
        assert said[1]["reasoning_content"] == thinking.thinking  # type: ignore[union-attr]
        assert said[1]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 12}'}
        assert (said[2]["tool_call_id"], said[2]["content"]) == (use.id, "46")  # type: ignore[union-attr]


@pytest.mark.parametrize("stream", [False, True])
def test_without_a_rule_the_upstreams_chat_route_writes_all_of_it(stream: bool) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "eA=="}}
    turns: Any = [{"role": "user", "content": [{"type": "text", "text": "What?"}, picture]}]
    with Imitation(extended=True) as server, served(upstream(server.url)) as gateway, client_of(gateway) as client:
        if stream:
            with client.messages.stream(model="toy", messages=turns, max_tokens=50) as events:
                made = events.get_final_message()
        else:
            made = ask(client, turns, model="toy", max_tokens=50)
        assert made.content[0].text == "46"  # type: ignore[union-attr]
        assert (made.usage.input_tokens, made.usage.output_tokens) == (9, 7)
        assert server.chats[-1]["messages"][0]["content"][1]["image_url"]["url"] == "data:image/png;base64,eA=="
        with pytest.raises(anthropic.BadRequestError, match="cannot go with the policy"):
            ask(client, turns, model="toy", extra_body={"satisfice": {"policy": "first-cue"}})
        server.refuses = (429, {"error": {"message": "slow down"}}, {"retry-after": "3"})
        with pytest.raises(anthropic.RateLimitError, match="slow down") as told:
            ask(client, turns, model="toy")
        assert told.value.response.headers["retry-after"] == "3"


def test_another_upstream_takes_over_where_the_first_is_busy() -> None:
    with (
        Imitation(extended=True) as first,
        Imitation(extended=True) as second,
        served(upstream(first.url, second.url)) as gateway,
    ):
        first.refuses = (503, {"error": {"message": "busy"}}, {})
        made = ask(client_of(gateway), QUESTION, model="toy", tools=[TOOL])
        assert made.stop_reason == "tool_use"
        assert (len(first.chats), len(second.chats)) == (0, 1)


def test_json_by_a_schema() -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}}
    with (
        Imitation(extended=True) as server,
        served(upstream(server.url), Settings(policy=build("first-cue"))) as gateway,
    ):
        config: Any = {"format": {"type": "json_schema", "schema": schema}}
        made = ask(client_of(gateway), QUESTION, model="toy", output_config=config)
        assert json.loads(made.content[0].text) == {"answer": 46}  # type: ignore[union-attr]
        assert server.chats[-1]["response_format"]["json_schema"]["schema"] == schema


def test_tokens_are_counted_by_an_upstream_or_not_at_all() -> None:
    with Imitation(extended=True) as server, served(upstream(server.url)) as gateway, client_of(gateway) as client:
        with pytest.raises(anthropic.NotFoundError, match="counts no tokens"):  # this one answers without a count
            client.messages.count_tokens(model="toy", messages=QUESTION)
        assert server.others[-1] == ("/tokenize", {"messages": QUESTION, "model": "toy"})


def test_a_fault_in_a_stream_is_an_error_event_and_who_leaves_stops_the_spending() -> None:
    from tests.engines.servers import Fault, LoopbackServer

    with LoopbackServer(slowly, pause_s=0.01) as server, served(upstream(server.url + QUICK)) as gateway:
        client, asked = client_of(gateway), {"model": "toy", "max_tokens": 900, "thinking": SHOWN, "messages": QUESTION}
        with client.messages.stream(**asked) as stream:  # type: ignore[arg-type]
            next(event for event in stream if event.type == "thinking")
            assert server.now == 1
        soon(lambda: server.now == 0)
        sent = server.sent
        soon(lambda: gateway.gateway.limiter.running == 0)
        assert server.sent <= sent + 1
        server.faults.extend([Fault("garbage", after=6)] * 5)
        with httpx.stream(
            "POST", f"{gateway.url}/v1/messages", json={**asked, "stream": True}, trust_env=False
        ) as response:
            text = response.read().decode()
        assert response.status_code == 200
        assert text.rpartition("event: ")[2].startswith("error\n")
        assert json.loads(text.rstrip().rpartition("data: ")[2])["error"]["type"] == "api_error"


def test_pings_while_nothing_is_shown() -> None:
    voting = Settings(policy=build("first-finish(n=2)"), keep_alive_s=0.02)
    with Imitation(extended=True, pause_s=0.01) as server, served(upstream(server.url), voting) as gateway:
        body = {"model": "toy", "max_tokens": 200, "messages": QUESTION, "stream": True}
        text = httpx.post(f"{gateway.url}/v1/messages", json=body, trust_env=False, timeout=30).text
        assert text.count('event: ping\ndata: {"type":"ping"}\n\n') > 2
        with client_of(gateway).messages.stream(model="toy", messages=QUESTION, max_tokens=200) as stream:
            assert stream.get_final_message().content[0].text == "46"  # type: ignore[union-attr]


PIECES = st.lists(
    st.one_of(
        st.builds(Delta, st.sampled_from(["reasoning", "content"]), st.text(min_size=1, max_size=9), st.none()),  # type: ignore[arg-type]
        st.builds(
            lambda at, name, arguments: Delta("data", "", {"tool_calls": [
                {"index": at, "id": f"call_{at}", "function": {"name": name, "arguments": arguments}}]}),
            st.integers(0, 2), st.sampled_from(["", "add"]), st.sampled_from(["", "{", '"a":', "1}", "{}"]),
        ),
    ),
    max_size=8,
)  # fmt: skip
OUTCOME = Outcome(
    finish="stop", stopped="model", ledger=Ledger(kept=5), prompt_tokens=3, reasoning_tokens=2, chains=1, looks=0
)  # fmt: skip


@given(PIECES, st.sampled_from(["shown", "omitted", "hidden"]), st.integers(1, 3))
def test_any_stream_adds_up_to_its_whole(pieces: list[Delta], display: Any, width: int) -> None:
    from anthropic.lib.streaming._messages import accumulate_event

    def new() -> Encoder:
        return Encoder(id="msg_1", model="m", display=display)

    form, data = new(), b""
    for at in range(0, max(1, len(pieces)), width):
        data += form.chunk(pieces[at : at + width], first=at == 0)
    data += form.last_chunk(OUTCOME, 0, {"looks": 0}) + form.end([OUTCOME])
    made: Any = None
    buffers: dict[int, bytes] = {}
    for part in data.decode().split("\n\n")[:-1]:
        name, _, row = part.partition("\n")
        event = EVENTS.validate_python(json.loads(row.removeprefix("data: ")), strict=True)
        assert name == f"event: {event.type}"
        made = accumulate_event(event=event, current_snapshot=made, json_bufs=buffers)
    whole = Message.model_validate(new().whole([pieces], [OUTCOME], {"looks": 0}), strict=True)
    assert [block.to_dict() for block in made.content] == [block.to_dict() for block in whole.content]
    assert (made.stop_reason, made.usage.to_dict()) == (whole.stop_reason, whole.usage.to_dict())
    said = "".join(text for kind, text, _ in pieces if kind == "content")
    assert "".join(block.text for block in whole.content if block.type == "text") == said
    thought = "".join(text for kind, text, _ in pieces if kind == "reasoning") if display == "shown" else ""
    assert "".join(block.thinking for block in whole.content if block.type == "thinking") == thought


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "text", "thinking", "source", "id", "name", "input", "tool_use_id", "content"]),
        inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
TURNS = st.lists(
    st.fixed_dictionaries({
        "role": st.sampled_from(["user", "assistant", "system"]),
        "content": st.lists(st.fixed_dictionaries(
            {"type": st.sampled_from(["text", "thinking", "tool_use", "tool_result", "image", "video"])},
            optional={"text": JSON, "content": JSON, "source": JSON, "id": JSON, "name": JSON, "input": JSON,
                      "tool_use_id": JSON, "thinking": JSON}), max_size=3) | JSON,
    }), max_size=3,
)  # fmt: skip


@given(TURNS, st.fixed_dictionaries({}, optional=dict.fromkeys(
    ["tools", "tool_choice", "thinking", "output_config", "system", "stop_sequences"], JSON)))  # fmt: skip
def test_any_body_is_read_or_refused(messages: Any, more: Any) -> None:
    try:
        request = read_messages({"max_tokens": 9, "messages": messages, **more})
    except (RequestRefused, BadInput):
        return
    assert {turn["role"] for turn in request.messages} <= {"system", "user", "assistant", "tool"}
    assert all(turn["content"] is not None or turn["tool_calls"] for turn in request.messages)
