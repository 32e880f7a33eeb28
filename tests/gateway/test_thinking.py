"""Every spelling of a budget means the same, and two that differ are an error."""

from typing import Any

import pytest

from satisfice.core.errors import BadInput
from satisfice.gateway.body import ChatBody
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


def test_adaptive_leaves_it_to_a_rule_and_goes_with_a_budget() -> None:
    assert amount_of(body(thinking={"type": "adaptive"})) == Amount(automatic=True, said="thinking.type")
    assert amount_of(body(thinking={"type": "adaptive", "budget_tokens": 9})).tokens == 9
