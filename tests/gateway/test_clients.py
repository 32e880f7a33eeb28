"""The official client, unchanged, against a gateway over the bundled model."""

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from tests.gateway.serving import Served, local, served

from satisfice.catalog import build
from satisfice.engines.local.engine import LocalEngine
from satisfice.gateway.settings import Limits, Settings
from satisfice.tasks import load_task

[PROBLEM] = load_task("chain-sum:easy", limit=1).problems
MESSAGES: Any = [{"role": "user", "content": PROBLEM.question}]
[LONG] = load_task("chain-sum:hard", limit=1).problems
LONGER: Any = [{"role": "user", "content": LONG.question}]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Served]:
    settings = Settings(policy=build("deer"), reasoning="both", limits=Limits(at_once=20, at_once_per_key=20))
    with served(local(LocalEngine()), settings) as found:
        yield found


@pytest.fixture(scope="module")
def client(gateway: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key="any", max_retries=0) as found:
        yield found


def ask(client: openai.OpenAI, messages: Any = MESSAGES, **more: Any) -> ChatCompletion:
    made = client.chat.completions.create(model="pocket", messages=messages, seed=1, **more)
    return ChatCompletion.model_validate(made.model_dump(), strict=True)


def test_an_answer_is_what_the_clients_types_say(client: openai.OpenAI) -> None:
    made = ask(client)
    [choice] = made.choices
    assert choice.finish_reason == "stop"
    assert choice.message.content == PROBLEM.answer
    assert made.usage is not None
    assert made.usage.completion_tokens_details is not None
    assert 0 < made.usage.completion_tokens_details.reasoning_tokens < made.usage.completion_tokens  # type: ignore[operator]
    said = made.model_extra["satisfice"]  # type: ignore[index]
    assert said["policy"] == "deer"
    assert said["stopped"] in ("rule", "model")
    assert said["ledger"]["spent"] == made.usage.completion_tokens
    assert choice.message.reasoning == choice.message.reasoning_content  # type: ignore[attr-defined]


def test_a_stream_says_the_same_as_the_whole_piece_by_piece(client: openai.OpenAI) -> None:
    whole = ask(client, LONGER)
    chunks = list(
        client.chat.completions.create(
            model="pocket", messages=LONGER, seed=1, stream=True, stream_options={"include_usage": True}
        )
    )
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.model_dump(), strict=True)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    reasoning = [text for delta in deltas if (text := getattr(delta, "reasoning", None))]
    assert "".join(reasoning) == whole.choices[0].message.reasoning  # type: ignore[attr-defined]
    assert len(reasoning) > 5  # piece by piece
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1
    told = chunks[-2].model_extra["satisfice"]  # type: ignore[index]
    assert {**told["ledger"], "wall_s": 0} == {**whole.model_extra["satisfice"]["ledger"], "wall_s": 0}  # type: ignore[index]


def test_a_sampler_decides_what_may_be_said(client: openai.OpenAI) -> None:
    wish = {"satisfice": {"policy": "full", "sampler": "top-k:1"}}
    likeliest = ask(client, temperature=0, extra_body={"satisfice": {"policy": "full"}}).choices[0].message
    hot = ask(client, temperature=2, extra_body=wish).choices[0].message
    assert (hot.content, hot.reasoning) == (likeliest.content, likeliest.reasoning)  # type: ignore[attr-defined]


def test_the_header_says_what_the_body_says(client: openai.OpenAI, gateway: Served) -> None:
    raw = client.chat.completions.with_raw_response.create(model="pocket", messages=MESSAGES, seed=1)
    assert json.loads(raw.headers["x-satisfice"]) == json.loads(raw.text)["satisfice"]
    assert raw.headers["x-request-id"] == json.loads(raw.text)["id"]


def test_asynchronous_clients_and_several_policies_at_once(gateway: Served) -> None:
    async def every() -> None:
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="any", max_retries=0) as client:

            async def one(extra: dict[str, Any], expected: str) -> None:
                made = await client.chat.completions.create(model="pocket", messages=MESSAGES, seed=1, extra_body=extra)
                assert made.satisfice["policy"] == expected  # type: ignore[attr-defined]
                assert made.choices[0].message.content is not None

            async def stream() -> str:
                text = ""
                async with await client.chat.completions.create(
                    model="pocket", messages=MESSAGES, seed=1, stream=True, extra_body={"thinking_token_budget": 0}
                ) as chunks:
                    async for chunk in chunks:
                        text += chunk.choices[0].delta.content or ""
                return text

            await asyncio.gather(
                one({"satisfice": {"policy": "full"}}, "full"),
                one({"satisfice": {"policy": "deer", "threshold": 0.9}}, "deer(threshold=0.9)"),
                one({"reasoning_effort": "none"}, "nothinking"),
                one({"thinking": {"type": "enabled", "budget_tokens": 20}}, "deer"),
                one({"satisfice": {"policy": "first-finish", "n": 2}}, "first-finish(n=2)"),
                stream(),
            )

    asyncio.run(every())


def test_completions_continue_a_text(client: openai.OpenAI) -> None:
    prompt = f"<|user|>{PROBLEM.question}<|assistant|><think>"
    made = client.completions.create(
        model="pocket", prompt=prompt, seed=1, extra_body={"satisfice": {"policy": "full"}}
    )
    Completion.model_validate(made.model_dump(), strict=True)
    assert made.choices[0].text.endswith(f"</think>{PROBLEM.answer}")
    assert made.choices[0].finish_reason == "stop"
    plain = client.completions.create(model="pocket", prompt=prompt + "</think>", max_tokens=1, seed=1)
    assert (plain.choices[0].finish_reason, plain.satisfice["policy"]) == ("length", "plain")  # type: ignore[attr-defined]
    streamed = client.completions.create(model="pocket", prompt=prompt + "</think>", max_tokens=3, seed=1, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed if chunk.choices)


def test_models_health_and_metrics(client: openai.OpenAI, gateway: Served) -> None:
    assert [model.id for model in client.models.list()] == ["pocket"]
    for path, said in (
        ("/healthz", "ok"),
        ("/readyz", "true"),
        ("/metrics", "satisfice_requests_total"),
        ("/", "<!doctype"),
    ):
        with urllib.request.urlopen(gateway.url + path) as page:
            assert said in page.read().decode()


def test_mistakes_are_errors_of_the_client(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="There is 'pocket'"):
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError, match="cannot do that"):
        ask(client, tools=[{"type": "function", "function": {"name": "f"}}])
    assert ask(client, max_tokens=5000).choices[0].message.content == PROBLEM.answer  # lowered to the model's limit
    made = ask(client, extra_body={"thinking_token_budgets": 5})
    assert made.model_extra["satisfice"]["ignored"] == ["thinking_token_budgets"]  # type: ignore[index]
    with pytest.raises(openai.BadRequestError, match="Did you mean 'deer'"):
        list(ask_stream(client, {"policy": "dear"}))


def ask_stream(client: openai.OpenAI, wish: dict[str, Any]) -> Any:
    return client.chat.completions.create(
        model="pocket", messages=MESSAGES, stream=True, extra_body={"satisfice": wish}
    )


VENDORS: dict[str, Any] = {
    "cache_salt": "x", "priority": 1, "skip_special_tokens": False, "add_generation_prompt": True, "request_id": "r",
    "return_token_ids": False, "prompt_logprobs": None, "documents": [], "cache_prompt": True,
    "reasoning_format": "none", "typical_p": 1, "repeat_penalty": 1.0, "separate_reasoning": True,
    "provider": {"order": ["a"]}, "usage": {"include": True}, "verbosity": "low", "ignore_eos": True,
    "chat_template_kwargs": {"any": "thing"}, "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "none", "top_k": 20, "min_p": 0.0, "store": False, "metadata": {"a": "b"},
}  # fmt: skip
"""What vLLM's, llama.cpp's, SGLang's and OpenRouter's clients send, where a model in this process can go on without."""


@pytest.mark.parametrize("name", sorted(VENDORS))
def test_fields_of_other_servers_do_no_harm(client: openai.OpenAI, name: str) -> None:
    more = {name: VENDORS[name], **({"tool_choice": "none"} if name == "tools" else {})}
    assert ask(client, extra_body=more).choices[0].message.content == PROBLEM.answer


def test_the_routes_beside_generation(client: openai.OpenAI, gateway: Served) -> None:
    assert client.models.retrieve("pocket").id == "pocket"
    with pytest.raises(openai.NotFoundError, match="There is 'pocket'"):
        client.models.retrieve("other")
    with pytest.raises(openai.NotFoundError, match="upstream's"):
        client.embeddings.create(model="pocket", input="x")
    found = client.post("/../tokenize", body={"messages": MESSAGES}, cast_to=object)
    assert isinstance(found, dict)
    assert found["count"] == len(found["tokens"]) > 5
    assert found["prompt"].endswith("<think>")
    with urllib.request.urlopen(gateway.url + "/health") as page:
        assert page.status == 200


def test_a_prompt_that_is_too_long_or_empty_is_told_as_such(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="maximum context length is 2048 tokens") as told:
        ask(client, [{"role": "user", "content": "1 " * 3000}])
    assert told.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="the prompt is empty"):
        client.completions.create(model="pocket", prompt="", max_tokens=5)
    assert ask(client).choices[0].message.content == PROBLEM.answer


def test_several_prompts_token_ids_and_choices(client: openai.OpenAI) -> None:
    prompt = f"<|user|>{PROBLEM.question}<|assistant|><think>"
    found: Any = client.post("/../tokenize", body={"prompt": prompt}, cast_to=object)
    one = client.completions.create(model="pocket", prompt=prompt, seed=1).choices[0].text
    both = client.completions.create(model="pocket", prompt=[found["tokens"], found["tokens"]], seed=1)
    assert [choice.index for choice in both.choices] == [0, 1]
    assert both.choices[0].text == one
    assert client.completions.create(model="pocket", prompt=found["tokens"], seed=1).choices[0].text == one
    made = ask(client, n=2)
    assert [choice.index for choice in made.choices] == [0, 1]
    assert made.choices[0].message.content == PROBLEM.answer


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"temperature": "hot"}, "temperature: must be a number."),
        ({"n": 0}, "n: must be at least 1."),
        ({"stop": [""]}, "stop: must be a string or a list"),
        ({"messages": [{"role": "root", "content": "x"}]}, r"messages.0.role: must be one of 'system'"),
        ({"messages": [{"content": "x"}]}, r"messages.0.role: is required"),
        ({"messages": [{"role": "user", "content": 5}]}, r"messages.0.content: must be a string or a list of parts"),
        ({"seed": 1.5}, "seed: must be a whole number"),
        ({"logprobs": True}, "logprobs: the model of this server cannot do that"),
    ],
)  # fmt: skip
def test_errors_speak_of_the_request(client: openai.OpenAI, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as told:
        client.chat.completions.create(model="pocket", messages=MESSAGES, extra_body=fields)
    for ours in ("pydantic", "function-", "Input should", "constrained"):
        assert ours not in str(told.value)


def test_whole_numbers_may_be_written_with_a_point(client: openai.OpenAI) -> None:
    assert ask(client, extra_body={"seed": 1.0, "max_tokens": 500.0}).choices[0].message.content == PROBLEM.answer
