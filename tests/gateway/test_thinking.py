"""Every spelling of a budget means the same, and two that differ are an error."""

from typing import Any

import pytest

from satisfice.core.errors import BadInput
from satisfice.gateway.body import NEUTRAL, PASSED, ChatBody, passed
from satisfice.gateway.thinking import EFFORT, SPELLINGS, Amount, amount_of

MESSAGES = [{"role": "user", "content": "1 + 1"}]


def body(**fields: Any) -> ChatBody:
    return ChatBody.model_validate({"messages": MESSAGES, **fields})


def spelt(name: str, value: Any) -> dict[str, Any]:
    field, _, inner = name.partition(".")
    return {field: {inner: value} if inner else value}


@pytest.mark.parametrize("name", [name for name, kind in SPELLINGS if kind == "budget"])
def test_a_budget_is_read_in_every_spelling(name: str) -> None:
    assert amount_of(body(**spelt(name, 300))) == Amount(tokens=300, said=name)
    assert not amount_of(body(**spelt(name, 0))).on
    assert amount_of(body(**spelt(name, -1))) == Amount()


@pytest.mark.parametrize("name", [name for name, kind in SPELLINGS if kind == "switch"])
def test_a_switch_is_read_in_every_spelling(name: str) -> None:
    on, off = ("enabled", "disabled") if name == "thinking.type" else (True, False)
    assert amount_of(body(**spelt(name, on))).on
    assert amount_of(body(**spelt(name, off))) == Amount(on=False, said=name)


@pytest.mark.parametrize("name", [name for name, kind in SPELLINGS if kind == "effort"])
def test_an_effort_is_a_share(name: str) -> None:
    assert amount_of(body(**spelt(name, "low"))) == Amount(share=EFFORT["low"], said=name)
    assert amount_of(body(**spelt(name, "max"))) == Amount()
    assert not amount_of(body(**spelt(name, "none"))).on


def test_one_amount_said_twice_is_one_and_two_are_an_error() -> None:
    assert amount_of(body(thinking_token_budget=5, thinking={"type": "enabled", "budget_tokens": 5})).tokens == 5
    assert amount_of(body(thinking_token_budget=-1, think=True)) == Amount()
    for clash in (
        {"thinking_token_budget": 5, "thinking_budget": 6},
        {"thinking_token_budget": 5, "reasoning_effort": "low"},
        {"thinking_token_budget": 5, "reasoning_effort": "none"},
        {"reasoning_effort": "high", "reasoning": {"effort": "low"}},
        {"chat_template_kwargs": {"enable_thinking": False}, "think": True},
        {"enable_thinking": False, "reasoning": {"max_tokens": 100}},
    ):
        with pytest.raises(BadInput, match="Send one of them"):
            amount_of(body(**clash))


def test_what_a_policy_cannot_obey_is_passed_and_what_says_nothing_is_not() -> None:
    assert passed(body()) == ""
    for name in PASSED:
        for neutral in NEUTRAL.get(name, ()):
            if name in ChatBody.model_fields:
                assert passed(body(**{name: neutral})) == ""
    tool = {"type": "function", "function": {"name": "add"}}
    assert passed(body(tools=[tool], logprobs=True)) == "tools"
    assert passed(body(response_format={"type": "json_object"})) == "response_format"
    assert passed(body(n=2)) == "n"
    assert passed(body(logprobs=True)) == "logprobs"
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    picture = {"role": "user", "content": [{"type": "text", "text": "what is it?"}, image]}
    assert passed(body(messages=[picture])) == "messages[0].content"
    assert passed(body(messages=[*MESSAGES, {"role": "tool", "content": "2", "tool_call_id": "1"}])) == "tools"
    assert passed(body(messages=[{"role": "assistant", "content": None, "tool_calls": [{}]}])) == "tools"
