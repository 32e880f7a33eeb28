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
    with pytest.raises(openai.BadRequestError, match="Did you mean thinking_token_budget"):
        ask(client, extra_body={"thinking_token_budgets": 5})
    with pytest.raises(openai.BadRequestError, match="cannot do that"):
        ask(client, tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(openai.BadRequestError, match="at most 1024"):
        ask(client, max_tokens=5000)
    with pytest.raises(openai.BadRequestError, match="Did you mean 'deer'"):
        list(ask_stream(client, {"policy": "dear"}))


def ask_stream(client: openai.OpenAI, wish: dict[str, Any]) -> Any:
    return client.chat.completions.create(
        model="pocket", messages=MESSAGES, stream=True, extra_body={"satisfice": wish}
    )
