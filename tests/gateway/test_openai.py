"""What goes over the wire, object by object."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.gateway.openai import Encoder
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.settings import ReasoningField

KINDS: Any = st.sampled_from(["reasoning", "content"])
PIECES = st.lists(st.builds(Delta, KINDS, st.text(min_size=1, max_size=9), st.none()), max_size=4)
NAMES = st.sampled_from(["pocket", 'a "new text" of mine', "Größe\u2028\n", '"new text"'])


@given(PIECES, NAMES, st.booleans(), st.booleans(), st.sampled_from(["reasoning", "reasoning_content", "both"]))
def test_an_event_holds_what_is_new_and_nothing_else(
    pieces: list[Delta], model: str, first: bool, chat: bool, reasoning: ReasoningField
) -> None:
    form = Encoder(id="an id", created=7, model=model, chat=chat, reasoning=reasoning)
    said = form.chunk(pieces, first=first)
    if not pieces and not first:
        assert said == b""
        return
    assert said.startswith(b"data: ")
    assert said.endswith(b"\n\n")
    assert said.count(b"\n") == 2
    row = json.loads(said[6:])
    [choice] = row.pop("choices")
    assert row == {
        "id": "an id", "object": "chat.completion.chunk" if chat else "text_completion", "created": 7, "model": model
    }  # fmt: skip
    whole = {kind: "".join(text for which, text, _ in pieces if which == kind) for kind in ("reasoning", "content")}
    if not chat:
        assert choice == {"index": 0, "text": whole["content"], "finish_reason": None, "logprobs": None}
        return
    delta = choice.pop("delta")
    assert choice == {"index": 0, "finish_reason": None, "logprobs": None}
    assert delta.pop("role", None) == ("assistant" if first else None)
    assert delta.pop("content", "") == whole["content"]
    names = ("reasoning", "reasoning_content") if reasoning == "both" else (reasoning,)
    assert delta == (dict.fromkeys(names, whole["reasoning"]) if whole["reasoning"] else {})


@pytest.mark.parametrize("chat", [True, False])
def test_hidden_thinking_makes_no_events(chat: bool) -> None:
    form = Encoder(id="a", created=7, model="m", chat=chat, reasoning="reasoning", hide_reasoning=True)
    assert form.chunk([Delta("reasoning", "so")]) == b""
    assert json.loads(form.chunk([Delta("content", "46")])[6:])["choices"][0]["index"] == 0
