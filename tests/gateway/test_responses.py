"""OpenAI's Responses with its official client: on the bundled model under a rule, and in front of upstreams."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter
from tests.engines.servers import Fault, LoopbackServer
from tests.gateway.imitations import Imitation
from tests.gateway.serving import Served, local, served, upstream
from tests.gateway.test_anthropic import JSON, OUTCOME, PIECES
from tests.gateway.test_clients import LONG, PROBLEM
from tests.gateway.test_faults import QUICK, slowly, soon

from satisfice.catalog import build
from satisfice.core.errors import BadInput
from satisfice.engines.local.engine import LocalEngine
from satisfice.gateway.failures import RequestRefused
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.responses import Encoder, read_responses
from satisfice.gateway.settings import Settings

EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TOOL: Any = {
    "type": "function",
    "name": "add",
    "description": "Add.",
    "parameters": {"type": "object"},
    "strict": False,
}


OPENED: list[openai.OpenAI] = []


@pytest.fixture(scope="module")
def gateway() -> Iterator[Served]:
    with served(local(LocalEngine()), Settings(policy=build("deer"))) as found:
        yield found


@pytest.fixture(scope="module")
def client(gateway: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key="any", max_retries=0) as found:
        yield found


def client_of(gateway: Served) -> openai.OpenAI:
    """Return a client that is closed when the test ends."""
    OPENED.append(openai.OpenAI(base_url=gateway.url + "/v1", api_key="any", max_retries=0))
    return OPENED[-1]


@pytest.fixture(autouse=True)
def _closes_clients() -> Iterator[None]:
    yield
    for found in OPENED:
        found.close()
    OPENED.clear()


def ask(client: openai.OpenAI, question: Any = PROBLEM.question, *, model: str = "pocket", **more: Any) -> Response:
    body = {"seed": 1, **more.pop("extra_body", {})}
    made = client.responses.create(model=model, input=question, extra_body=body, **more)
    return Response.model_validate(made.to_dict(), strict=True)


def thinking_of(made: Response) -> str:
    return "".join(part.text for item in made.output if item.type == "reasoning" for part in item.content or ())


def test_reasoning_is_an_item_and_the_rule_looks(client: openai.OpenAI) -> None:
    made = ask(client, LONG.question)
    assert [item.type for item in made.output] == ["reasoning", "message"]
    assert thinking_of(made)
    assert made.output_text
    assert (made.status, made.error, made.incomplete_details) == ("completed", None, None)
    assert made.usage is not None
    assert 0 < made.usage.output_tokens_details.reasoning_tokens < made.usage.output_tokens
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens
    said = made.satisfice  # type: ignore[attr-defined]
    assert said["policy"] == "deer"
    assert said["looks"] > 0
    assert said["ledger"]["spent"] == made.usage.output_tokens
    full = ask(client, LONG.question, extra_body={"satisfice": {"policy": "full"}})
    assert full.usage is not None
    assert made.usage.output_tokens < full.usage.output_tokens
    assert ask(client).output_text == PROBLEM.answer


def test_a_stream_ends_with_the_whole(client: openai.OpenAI) -> None:
    whole = ask(client, LONG.question)
    events = list(client.responses.create(model="pocket", input=LONG.question, stream=True, extra_body={"seed": 1}))
    for event in events:
        EVENTS.validate_python(event.to_dict(), strict=True)
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    assert len(deltas) > 5  # piece by piece
    assert "".join(deltas) == thinking_of(whole)
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    last = events[-1].response  # type: ignore[union-attr]
    assert last.output_text == whole.output_text
    assert last.usage == whole.usage
    with client.responses.stream(model="pocket", input=LONG.question, extra_body={"seed": 1}) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_text == whole.output_text


@pytest.mark.parametrize(
    ("fields", "policy"),
    [
        ({"reasoning": {"effort": "none"}}, "nothinking"),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, "deer"),
        ({"extra_body": {"satisfice": {"policy": "full"}}}, "full"),
    ],
)
def test_effort_and_policy(client: openai.OpenAI, fields: Any, policy: str) -> None:
    made = ask(client, **fields)
    assert made.satisfice["policy"] == policy  # type: ignore[attr-defined]
    assert bool(thinking_of(made)) == (policy != "nothinking")
    assert made.reasoning is not None
    assert made.reasoning.effort == fields.get("reasoning", {}).get("effort")


def test_an_effort_is_a_share_of_the_longest_chain(client: openai.OpenAI) -> None:
    full = {"satisfice": {"policy": "full"}}
    low, most = (
        ask(client, LONG.question, max_output_tokens=100, reasoning={"effort": effort}, extra_body=full)
        for effort in ("low", "xhigh")
    )
    assert len(thinking_of(low)) < len(thinking_of(most))


def test_a_limit_makes_it_incomplete(client: openai.OpenAI) -> None:
    made = ask(client, reasoning={"effort": "none"}, max_output_tokens=1)
    assert made.status == "incomplete"
    assert made.incomplete_details is not None
    assert made.incomplete_details.reason == "max_output_tokens"
    events = list(client.responses.create(model="pocket", input=PROBLEM.question, stream=True, max_output_tokens=1,
                                          reasoning={"effort": "none"}))  # fmt: skip
    assert events[-1].type == "response.incomplete"


def test_nothing_is_stored_and_reasoning_can_be_carried_by_the_client(client: openai.OpenAI) -> None:
    made = ask(client, store=False, include=["reasoning.encrypted_content"], instructions="Be brief.")
    assert made.store is False  # type: ignore[attr-defined]
    assert made.instructions == "Be brief."
    item = made.output[0].to_dict()
    assert str(item["encrypted_content"]).startswith("satisfice:")
    bare = {"type": "reasoning", "id": item["id"], "summary": [], "encrypted_content": item["encrypted_content"]}
    for carried in (item, bare):
        request = read_responses({"input": [
            {"role": "user", "content": "1"}, carried, made.output[1].to_dict(), {"role": "user", "content": "2"},
        ]})  # fmt: skip
        assert [turn["role"] for turn in request.messages] == ["user", "assistant", "user"]
        assert request.messages[1]["reasoning_content"] == thinking_of(made)
        assert request.messages[1]["content"] == made.output_text
    with pytest.raises(BadInput, match="was changed on its way"):
        read_responses({"input": [{**bare, "encrypted_content": "satisfice:%%"}]})
    assert "encrypted_content" not in ask(client).output[0].to_dict()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"previous_response_id": "resp_1"},
            "previous_response_id: this server stores no responses. Send the conversation",
        ),
        ({"extra_body": {"conversation": "c"}}, "conversation: this server stores no conversations"),
        ({"background": True}, "background: this server stores no responses"),
        ({"extra_body": {"prompt": {"id": "p"}}}, "prompt: this server stores no prompts"),
        ({"tools": [TOOL]}, "tools: the model of this server cannot do that"),
        ({"text": {"format": {"type": "json_object"}}}, r"text\.format: the model of this server cannot do that"),
        (
            {"question": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]},
            "input: the model of this server cannot do that",
        ),
        ({"tools": [{"type": "web_search"}]}, "'web_search' is a tool that OpenAI's own servers run"),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice: must be one of auto, none, required"),
        ({"question": [{"type": "item_reference", "id": "x"}]}, r"input\.0: an item of type 'item_reference'"),
        ({"question": [{"role": "user", "content": [{"type": "input_file"}]}]}, r"input\.0\.content: a part of type"),
        ({"question": 5}, "input: must be a string or a list of items"),
        ({"question": []}, "input: must"),
        ({"include": ["message.output_text.logprobs"]}, "include: the model of this server cannot do that"),
        ({"extra_body": {"n": 2}}, "n: it is no field of this route"),
        ({"extra_body": {"satisfice": {"policy": "dear"}}}, "Did you mean 'deer'"),
        ({"max_output_tokens": 0}, "max_output_tokens: must be at least 1"),
        ({"question": "1 " * 3000}, "maximum context length"),
    ],
)
def test_mistakes_are_told(client: openai.OpenAI, fields: Any, words: str) -> None:
    fields = dict(fields)
    with pytest.raises(openai.BadRequestError, match=words):
        ask(client, fields.pop("question", PROBLEM.question), **fields)


def test_a_model_that_is_not_there(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="There is 'pocket'"):
        ask(client, model="gpt-5")


@pytest.mark.parametrize("stream", [False, True])
def test_an_agents_turn_goes_there_and_back(stream: bool) -> None:
    with (
        Imitation(extended=True) as server,
        served(upstream(server.url), Settings(policy=build("first-cue"))) as gateway,
    ):
        client = client_of(gateway)
        asked: Any = {"model": "toy", "input": "12 + 34 =", "tools": [TOOL], "tool_choice": "required"}
        if stream:
            events = list(client.responses.create(stream=True, **asked))
            for event in events:
                EVENTS.validate_python(event.to_dict(), strict=True)
            made = events[-1].response  # type: ignore[union-attr]
        else:
            made = client.responses.create(**asked)
        assert [item.type for item in made.output] == ["reasoning", "function_call"]
        call = made.output[1]
        assert (call.name, json.loads(call.arguments)) == ("add", {"a": 12})
        sent = server.chats[-1]
        assert sent["tools"][0]["function"]["name"] == "add"
        assert sent["tool_choice"] == "required"
        items = [{"role": "user", "content": "12 + 34 ="}, *(item.to_dict() for item in made.output),
                 {"type": "function_call_output", "call_id": call.call_id, "output": "46"}]  # fmt: skip
        client.responses.create(model="toy", input=items, tools=[TOOL])
        said = server.chats[-1]["messages"]
        assert [turn["role"] for turn in said] == ["user", "assistant", "tool", "assistant"]
        assert said[1]["reasoning_content"] == "12+34=46 so 46"
        assert said[1]["tool_calls"][0]["id"] == said[2]["tool_call_id"] == call.call_id


def test_parsed_answers_and_images_over_an_upstream() -> None:
    class Sum(BaseModel):
        answer: int

    with Imitation(extended=True) as server, served(upstream(server.url)) as gateway, client_of(gateway) as client:
        made = client.responses.parse(model="toy", input="12 + 34 =", text_format=Sum)
        assert made.output_parsed == Sum(answer=46)
        sent = server.chats[-1]["response_format"]["json_schema"]
        assert sent["schema"]["properties"]["answer"]["type"] == "integer"
        assert sent["strict"] is True
        assert made.usage is not None
        assert (made.usage.input_tokens, made.usage.output_tokens) == (9, 7)
        parts: Any = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": "data:,x"}]
        seen = client.responses.create(model="toy", input=[{"role": "user", "content": parts}])
        assert seen.output_text == "46"
        assert server.chats[-1]["messages"][0]["content"][1]["image_url"] == {"url": "data:,x"}


def test_a_fault_in_a_stream_is_told_and_who_leaves_stops_the_spending() -> None:
    with LoopbackServer(slowly, pause_s=0.01) as server, served(upstream(server.url + QUICK)) as gateway:
        client = client_of(gateway)
        with client.responses.create(model="toy", input="12 + 34 =", stream=True) as stream:
            next(event for event in stream if event.type == "response.reasoning_text.delta")
            assert server.now == 1
        soon(lambda: server.now == 0)
        sent = server.sent
        soon(lambda: gateway.gateway.limiter.running == 0)
        assert server.sent <= sent + 1
        server.faults.extend([Fault("garbage", after=6)] * 5)
        events = list(client.responses.create(model="toy", input="12 + 34 =", stream=True))
        assert events[-1].type == "response.failed"
        EVENTS.validate_python(events[-1].to_dict(), strict=True)
        assert events[-1].response.error is not None
        assert events[-1].response.error.code == "server_error"


def test_log_probabilities_of_the_answer_are_in_its_part() -> None:
    rows = [{"token": "46", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "4", "logprob": -2.0}]}]
    form = Encoder(id="resp_1", model="m", created=7, body={})
    deltas = [Delta("content", "46"), Delta("data", "", {"logprobs": {"content": rows}})]
    made = Response.model_validate(form.whole([deltas], [OUTCOME], {}), strict=True)
    [found] = made.output[0].content[0].logprobs  # type: ignore[union-attr, misc]
    assert (found.token, found.logprob, found.top_logprobs[0].token) == ("46", -0.5, "4")


def test_a_failure_before_the_first_event_has_an_event_of_its_own(gateway: Served) -> None:
    from satisfice.gateway.failures import Unavailable, failure_of

    data = Encoder(id="resp_1", model="m", created=7, body={}).error_event(failure_of(Unavailable("x"))).decode()
    event = EVENTS.validate_python(json.loads(data.partition("data: ")[2]), strict=True)
    assert (event.type, event.code) == ("error", "not_ready")


@given(PIECES, st.booleans(), st.booleans(), st.integers(1, 3))
def test_any_stream_adds_up_to_its_whole(pieces: list[Delta], hidden: bool, copied: bool, width: int) -> None:
    body: dict[str, Any] = {"include": ["reasoning.encrypted_content"]} if copied else {}

    def new() -> Encoder:
        return Encoder(id="resp_1", model="m", created=7, body=body, hide_reasoning=hidden)

    form, data = new(), b""
    for at in range(0, max(1, len(pieces)), width):
        data += form.chunk(pieces[at : at + width], first=at == 0)
    data += form.last_chunk(OUTCOME, 0, {"looks": 0}) + form.end([OUTCOME])
    rows = [json.loads(part.partition("data: ")[2]) for part in data.decode().split("\n\n")[:-1]]
    events = [EVENTS.validate_python(row, strict=True) for row in rows]
    assert [row["sequence_number"] for row in rows] == list(range(len(rows)))
    whole = new().whole([pieces], [OUTCOME], {"looks": 0})
    Response.model_validate(whole, strict=True)
    assert rows[-1]["response"] == whole
    assert [row["item"] for row in rows if row["type"] == "response.output_item.done"] == whole["output"]
    texts: dict[int, str] = {}
    for event in events:
        if event.type.endswith("_text.delta") or event.type.endswith("arguments.delta"):
            texts[event.output_index] = texts.get(event.output_index, "") + event.delta
    made = [item["arguments"] if "arguments" in item else item["content"][0]["text"] for item in whole["output"]]
    assert [texts.get(at, "") for at in range(len(made))] == made
    said = "".join(text for kind, text, _ in pieces if kind == "content")
    assert Response.model_validate(whole).output_text == said


ITEMS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["message", "reasoning", "function_call", "function_call_output", "video"])},
        optional={"role": st.sampled_from(["user", "assistant"]), **dict.fromkeys(
            ["content", "summary", "encrypted_content", "call_id", "name", "arguments", "output"], JSON)},
    ), max_size=3,
)  # fmt: skip


@given(ITEMS | JSON, st.fixed_dictionaries({}, optional=dict.fromkeys(
    ["tools", "tool_choice", "reasoning", "text", "include", "instructions"], JSON)))  # fmt: skip
def test_any_body_is_read_or_refused(items: Any, more: Any) -> None:
    try:
        request = read_responses({"input": items, **more})
    except (RequestRefused, BadInput):
        return
    assert {turn["role"] for turn in request.messages} <= {"system", "user", "assistant", "tool", "developer"}
    assert all(turn["content"] is not None or turn["tool_calls"] for turn in request.messages)
    assert httpx.Request("POST", "http://x", json=dict(request.fields))
