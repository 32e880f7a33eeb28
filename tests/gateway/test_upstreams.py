"""Upstreams as they are: refusals, full contexts, late tokens, restarts, tools; each imitation has a real quirk."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.engines.servers import CLOSE, END
from tests.gateway.imitations import Imitation
from tests.gateway.serving import Served, served, upstream
from tests.gateway.test_faults import ask, events, soon

from satisfice.catalog import build
from satisfice.gateway.settings import Limits, Settings

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
RULE = {"policy": "first-cue"}


@pytest.fixture
def server() -> Iterator[Imitation]:
    with Imitation(extended=True) as found:
        yield found


def get(gateway: Served, path: str) -> httpx.Response:
    return httpx.get(gateway.url + path, trust_env=False)


def post(gateway: Served, path: str, **body: Any) -> httpx.Response:
    return httpx.post(gateway.url + path, json=body, trust_env=False, timeout=30)


# Transparent


def test_no_rule_asks_once_and_as_the_client_asked(server: Imitation) -> None:
    with served(upstream(server.url)) as gateway:
        server.requests.clear()
        assert ask(gateway).json()["choices"][0]["message"]["content"] == "46"
        [body] = server.requests
        settings = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "stop", "presence_penalty")
        assert not set(settings) & set(body)
        said = {"temperature": 0.3, "top_k": 7, "presence_penalty": 1.5, "cache_salt": "s", "some_new_field": {"a": 1}}
        assert ask(gateway, **said).status_code == 200
        assert len(server.requests) == 2
        assert {name: server.requests[1].get(name) for name in said} == said


def test_settings_reach_every_call_under_a_rule_but_not_its_probes(server: Imitation) -> None:
    with served(upstream(server.url), Settings(policy=build("first-cue"))) as gateway:
        server.requests.clear()
        assert ask(gateway, top_k=7, min_tokens=12).status_code == 200
        assert len(server.requests) == 2
        assert [body["top_k"] for body in server.requests] == [7, 7]
        first, second = (body["min_tokens"] for body in server.requests)
        assert first == 12
        assert 0 <= second < 12


@pytest.mark.parametrize("field", ["custom_logit_processor", "chat_template", "lora_path", "kv_transfer_params"])
def test_what_could_run_code_or_reach_the_operators_is_refused(server: Imitation, field: str) -> None:
    with served(upstream(server.url)) as gateway:
        for more in ({}, {"tools": [TOOL]}):
            refused = ask(gateway, **{field: "x"}, **more)
            assert refused.status_code == 400
            assert refused.json()["error"]["message"].startswith(f"{field}: this server does not take it")
        assert not server.chats


def test_the_template_gets_its_variables_earlier_reasoning_and_parts_as_they_are(server: Imitation) -> None:
    parts = [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]
    earlier = {"role": "assistant", "content": "3", "reasoning_content": "1 and 2"}
    messages = [{"role": "user", "content": parts}, earlier, {"role": "user", "content": "4"}]
    with served(upstream(server.url)) as gateway:
        assert (
            ask(gateway, messages=messages, chat_template_kwargs={"style": "x"}, reasoning_effort="low").status_code
            == 200
        )
        form = server.forms[-1]
        assert form["messages"] == messages
        assert form["chat_template_kwargs"]["style"] == "x"
        assert form["chat_template_kwargs"]["reasoning_effort"] == "low"
        made = ask(gateway, think=False).json()
        assert server.forms[-1]["chat_template_kwargs"]["enable_thinking"] is False
        assert server.requests[-1]["prompt"].endswith(f"{CLOSE}\n\n")
        assert made["choices"][0]["message"]["content"] == "46"


# Refusals and limits


def test_a_refusal_reaches_the_client_and_the_upstream_stays_ready(server: Imitation) -> None:
    with served(upstream(server.url)) as gateway:
        server.refuses = 422, {"error": {"message": "frobs must be even"}}, {}
        for more in ({}, {"stream": True}, {"tools": [TOOL]}):
            refused = ask(gateway, **more)
            assert refused.status_code == 422
            assert refused.json()["error"]["message"] == "frobs must be even"
        assert get(gateway, "/readyz").status_code == 200
        server.refuses = 429, {"error": {"message": "slow down"}}, {"retry-after": "7"}
        before = server.connections
        refused = ask(gateway)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert server.connections <= before + 1  # asked once
        assert get(gateway, "/readyz").status_code == 200
        server.refuses = None
        assert ask(gateway).status_code == 200


def test_our_key_is_none_of_the_clients_business(server: Imitation) -> None:
    with served(upstream(server.url)) as gateway:
        server.refuses = 401, {"error": {"message": "Incorrect API key provided: abc"}}, {}
        refused = ask(gateway)
        assert refused.status_code == 502
        assert "key" not in refused.text


def test_a_prompt_that_is_too_long_is_recognised_by_clients() -> None:
    with Imitation(extended=True, context=40) as server, served(upstream(server.url)) as gateway:
        refused = ask(gateway, messages=[{"role": "user", "content": "1 " * 100}])
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (400, "context_length_exceeded")
        assert "maximum context length" in error["message"]
        assert get(gateway, "/readyz").status_code == 200
        assert ask(gateway).status_code == 200
    with Imitation(extended=True) as server, served(upstream(server.url + "?max_length=30")) as gateway:
        error = ask(gateway, messages=[{"role": "user", "content": "1 " * 100}]).json()["error"]
        assert error["code"] == "context_length_exceeded"
        assert error["message"].startswith("This model's maximum context length is 30 tokens")


def test_a_context_that_fills_ends_the_answer_and_not_the_request() -> None:
    def endless(question: str, so_far: str) -> str:
        return "so 46 "

    with Imitation(endless, extended=True, context=60) as server, served(upstream(server.url)) as gateway:
        made = ask(gateway)
        assert made.status_code == 200
        assert made.json()["choices"][0]["finish_reason"] == "length"
        assert made.json()["choices"][0]["message"]["reasoning"].startswith("sososo")


def test_an_unknown_context_is_not_made_up() -> None:
    with Imitation(extended=True) as server:
        server.models = ("toy",)
        with served(upstream(server.url)) as gateway:
            assert get(gateway, "/v1/models").json()["data"][0]["max_model_len"] == 4096
    with Imitation(extended=True, lists=False) as server, served(upstream(server.url + "?model=toy")) as gateway:
        row = get(gateway, "/v1/models/toy").json()
        assert row["id"] == "toy"
        assert "max_model_len" not in row
        assert get(gateway, "/v1/models/other").status_code == 404


def test_an_upstream_comes_back_by_itself(server: Imitation) -> None:
    with served(upstream(server.url)) as gateway:
        source = gateway.gateway.sources.all[0]
        source.failed(RuntimeError("it broke"))
        assert get(gateway, "/readyz").status_code == 503
        soon(lambda: get(gateway, "/readyz").status_code == 200)  # nobody has asked for anything
        server.models_status = 503
        soon(lambda: get(gateway, "/readyz").status_code == 503, within_s=20)
        server.models_status = 200
        soon(lambda: get(gateway, "/health").status_code == 200)


def test_the_first_token_may_take_longer_than_the_next() -> None:
    def script(question: str, so_far: str) -> str:
        return "so 46" + CLOSE + "46" + END if not so_far else ("so 46" + CLOSE + "46" + END)[len(so_far) :]

    with Imitation(script, extended=True) as server:
        address = server.url + "?silence_s=0.2&first_s=5&patience_s=0.1"
        server.queue_s = 0.5
        with served(upstream(address)) as gateway:
            assert ask(gateway).json()["choices"][0]["message"]["content"] == "46"


# Budgets and what models do inside and after thinking


@pytest.mark.parametrize(
    ("whole", "reasoning", "content"),
    [
        ("so 46" + END, "so 46", "46"),  # ends its turn inside thinking
        ("so 46" + CLOSE + END, "so 46", "46"),  # says nothing after it
        (f"so 46{CLOSE}<think>again{CLOSE}46" + END, "so 46again", "46"),  # reopens it
        (f"so 46{CLOSE}<think>again" + END, "so 46again", "46"),  # and never closes it
        (f"so 46{CLOSE}{CLOSE}46" + END, "so 46", "46"),  # a stray end
        (f"so 46{CLOSE}4{CLOSE}6" + END, "so 46", "46"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [True, False])
def test_thinking_never_leaks_and_there_is_an_answer(whole: str, reasoning: str, content: str, stream: bool) -> None:
    def script(question: str, so_far: str) -> str:
        if whole.startswith(so_far) and so_far != whole.removesuffix(END) + "\n":
            return whole[len(so_far) :]
        return "46" + END if not so_far.endswith("46") or so_far.removesuffix(f"\n{CLOSE}\n\n") != so_far else END

    def closed(question: str, so_far: str) -> str:
        return (
            ("46" if not so_far.endswith("\n\n46") else "") + END
            if f"\n{CLOSE}\n\n" in so_far
            else script(question, so_far)
        )

    with Imitation(closed, extended=True) as server, served(upstream(server.url)) as gateway:
        if stream:
            deltas = [row["choices"][0]["delta"] for row in events(ask(gateway, stream=True).text) if row["choices"]]
            got = ["".join(delta.get(name) or "" for delta in deltas) for name in ("reasoning", "content")]
        else:
            message = ask(gateway).json()["choices"][0]["message"]
            got = [message.get("reasoning", ""), message["content"]]
        assert got == [reasoning, content]


def test_a_loop_in_the_answer_ends() -> None:
    def looping(question: str, so_far: str) -> str:
        return "so 46" + CLOSE if CLOSE not in so_far else "46 is it. "

    settings = Settings(limits=Limits(answer_loop=300))
    with Imitation(looping, extended=True) as server, served(upstream(server.url), settings) as gateway:
        made = ask(gateway).json()
        assert made["choices"][0]["finish_reason"] == "length"
        assert made["satisfice"]["looped"]
        assert 300 <= len(made["choices"][0]["message"]["content"]) < 900


def test_a_small_limit_shortens_thinking_and_still_answers(server: Imitation) -> None:
    def endless(question: str, so_far: str) -> str:
        closed = so_far.partition(f"{CLOSE}\n\n")
        return ("46" + END if not closed[2] else END) if closed[1] else "so 46 "

    with Imitation(endless, extended=True) as slow, served(upstream(slow.url)) as gateway:
        made = ask(gateway, max_tokens=20).json()
        assert made["choices"][0]["message"]["reasoning"].startswith("so")
        assert made["choices"][0]["message"]["content"] == "46"
        exact = ask(gateway, thinking_token_budget=7).json()
        thinking = exact["usage"]["completion_tokens_details"]["reasoning_tokens"]
        assert thinking == 7
        assert exact["choices"][0]["message"]["content"] == "46"


# Agents


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("field", ["tools", "response_format"])
def test_the_upstream_writes_the_answer_after_thinking_under_a_rule(
    server: Imitation, field: str, stream: bool
) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    more = {"tools": [TOOL], "tool_choice": "required"} if field == "tools" else {"response_format": schema}
    with served(upstream(server.url), Settings(policy=build("first-cue"))) as gateway:
        response = ask(gateway, stream=stream, **more)
        if stream:
            rows = [row["choices"][0] for row in events(response.text) if row["choices"]]
            said = {
                name: value for row in rows for name, value in row["delta"].items() if name != "reasoning" and value
            }
            finish, told = rows[-1]["finish_reason"], events(response.text)[-1]["satisfice"]
        else:
            [choice] = response.json()["choices"]
            said, finish, told = choice["message"], choice["finish_reason"], response.json()["satisfice"]
            assert response.json()["usage"]["completion_tokens"] == told["ledger"]["spent"] + 7
        assert told["policy"] == "first-cue"
        assert told["stopped"] == "rule"
        [chat] = server.chats
        assert chat["messages"][-1]["role"] == "assistant"
        assert "12+34=46 so 46" in chat["messages"][-1]["content"]
        assert "once more" not in chat["messages"][-1]["content"]
        assert chat["continue_final_message"]
        assert chat[field] == more[field]
        if field == "tools":
            assert said["tool_calls"][0]["function"]["name"] == "add"
            assert finish == "tool_calls"
        else:
            assert json.loads(said["content"]) == {"answer": 46}


@pytest.mark.parametrize("stream", [True, False])
def test_what_a_parser_of_reasoning_takes_for_thinking_after_its_end_is_the_answer(stream: bool) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    with (
        Imitation(extended=True, parses=True) as server,
        served(upstream(server.url), Settings(policy=build("first-cue"))) as gateway,
    ):
        response = ask(gateway, stream=stream, response_format=schema)
        if stream:
            deltas = [row["choices"][0]["delta"] for row in events(response.text) if row["choices"]]
            said = {name: "".join(d.get(name) or "" for d in deltas) for name in ("reasoning", "content")}
        else:
            said = response.json()["choices"][0]["message"]
        assert json.loads(said["content"]) == {"answer": 46}
        assert "46" in said["reasoning"]
        assert "answer" not in said["reasoning"]


def test_without_a_rule_tools_go_through_as_they_came(server: Imitation) -> None:
    with served(upstream(server.url)) as gateway:
        response = ask(gateway, tools=[TOOL])
        assert json.loads(response.headers["x-satisfice"]) == {"passed": "tools"}
        [chat] = server.chats
        assert chat["messages"][-1]["role"] == "user"


def test_a_template_that_drops_thinking_means_400_for_who_names_a_policy_and_through_for_others() -> None:
    with (
        Imitation(extended=True, keeps=False) as server,
        served(upstream(server.url), Settings(policy=build("first-cue"))) as gateway,
    ):
        refused = ask(gateway, tools=[TOOL], satisfice=RULE)
        assert refused.status_code == 400
        assert "tools cannot go with the policy 'first-cue'" in refused.json()["error"]["message"]
        assert not server.chats
        assert json.loads(ask(gateway, tools=[TOOL]).headers["x-satisfice"]) == {"passed": "tools"}


def test_policies_that_compare_answers_cannot_go_with_tools_nor_any_with_images(server: Imitation) -> None:
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    with served(upstream(server.url)) as gateway:
        voting = ask(gateway, tools=[TOOL], satisfice={"policy": "self-consistency", "n": 2})
        assert voting.status_code == 400
        assert "compares finished answers" in voting.json()["error"]["message"]
        refused = ask(gateway, messages=image, satisfice=RULE)
        assert refused.status_code == 400
        assert "messages[0].content cannot go with" in refused.json()["error"]["message"]
        assert json.loads(ask(gateway, messages=image).headers["x-satisfice"]) == {"passed": "messages[0].content"}


def test_several_choices_are_several_runs_of_the_rule(server: Imitation) -> None:
    with served(upstream(server.url), Settings(policy=build("first-cue"))) as gateway:
        made = ask(gateway, n=3).json()
        assert [choice["index"] for choice in made["choices"]] == [0, 1, 2]
        assert {choice["message"]["content"] for choice in made["choices"]} == {"46"}
        assert [row["stopped"] for row in made["satisfice"]["choices"]] == ["rule"] * 3
        assert made["usage"]["completion_tokens"] == sum(row["ledger"]["spent"] for row in made["satisfice"]["choices"])
        assert made["usage"]["prompt_tokens"] == ask(gateway).json()["usage"]["prompt_tokens"]
        text = {0: "", 1: ""}
        for row in events(ask(gateway, n=2, stream=True).text):
            for choice in row["choices"]:
                text[choice["index"]] += choice["delta"].get("content") or ""
        assert text == {0: "46", 1: "46"}


def test_a_budget_reaches_what_is_passed_through_in_the_upstreams_spelling() -> None:
    def thinks(question: str, so_far: str) -> str:
        return "so 46 " if CLOSE not in so_far else "46" + END

    with (
        Imitation(thinks, extended=True, budget="thinking_token_budget") as server,
        served(upstream(server.url)) as gateway,
    ):
        image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
        assert ask(gateway, messages=image, reasoning={"max_tokens": 33}).status_code == 200
        assert server.chats[-1]["thinking_token_budget"] == 33


# Other routes


def test_batches_of_prompts_are_choices(server: Imitation) -> None:
    with served(upstream(server.url)) as gateway:
        made = post(gateway, "/v1/completions", prompt=["1 + 1<think>", "2 + 2<think>"], seed=1).json()
        assert [choice["index"] for choice in made["choices"]] == [0, 1]
        assert all(choice["text"].endswith("46") for choice in made["choices"])
        single = post(gateway, "/v1/completions", prompt="1 + 1<think>", seed=1).json()
        assert made["usage"]["prompt_tokens"] == 2 * single["usage"]["prompt_tokens"]
        wrong = post(gateway, "/v1/completions", prompt={"a": 1}).json()["error"]["message"]
        assert wrong == "prompt: must be a string, a list of strings, a list of token ids, or a list of such lists."


def test_routes_of_the_upstream_that_are_passed_through(server: Imitation) -> None:
    with served(upstream(server.url), Settings(passed=("/v1/rerank",))) as gateway:
        assert post(gateway, "/v1/embeddings", model="any", input="x").json() == {
            "path": "/v1/embeddings",
            "model": "toy",
        }
        assert post(gateway, "/v1/rerank", query="x").json()["path"] == "/v1/rerank"
        assert post(gateway, "/tokenize", prompt="x").json()["path"] == "/tokenize"
        assert post(gateway, "/v1/score", query="x").status_code == 404
        assert [path for path, _ in server.others] == ["/v1/embeddings", "/v1/rerank", "/tokenize"]


def test_what_was_passed_through_counts_even_when_the_client_leaves() -> None:
    with Imitation(lambda *_: "so 46 ", extended=True, pause_s=0.01) as server, served(upstream(server.url)) as gateway:
        body = {"prompt": "1 + 1 = ", "max_tokens": 4000, "stream": True}
        with httpx.stream("POST", f"{gateway.url}/v1/completions", json=body, trust_env=False) as response:
            for count, _ in enumerate(response.iter_lines()):
                if count > 10:
                    break
        soon(lambda: server.now == 0)
        soon(lambda: gateway.gateway.metrics.spent.kept > 3)
