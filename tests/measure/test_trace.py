import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.problem import Verdict
from satisfice.core.span import Span
from satisfice.engines.scripted import SCRIPTED, ScriptedEngine
from satisfice.measure.trace import first_right, span_rows, thinking_tokens, tokens_up_to

ENGINE = ScriptedEngine("")


def spans(*texts):
    """A prompt, then spans by turns sampled and injected."""
    kinds = ["prompt", *("sampled" if i % 2 == 0 else "injected" for i in range(len(texts)))]
    return tuple(
        Span(kind=kind, ids=tuple(ENGINE.encode(text)), by="0")  # type: ignore[arg-type]
        for kind, text in zip(kinds, ("1+1<think>", *texts), strict=True)
    )


def find(thinking, right="2"):
    async def judge(answer):
        asked.append(answer)
        return Verdict.RIGHT if answer == right else Verdict.WRONG

    asked: list[str] = []
    found = asyncio.run(first_right(spans(thinking + "</think>9"), thinking, SCRIPTED, ENGINE.decode, judge))
    return found, asked


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        ("1+1=3 so 3\nWait, so 2\nso 2", "1+1=3 so 3\nWait, so 2"),
        ("so 2", "so 2"),
        ("so 25 and so 3", None),
        ("2 it is", None),  # not in the form in which this model states answers
        ("", None),
    ],
)
def test_first_right_ends_where_the_first_right_answer_ends(thinking, expected):
    found, _ = find(thinking)
    assert found == (None if expected is None else len(ENGINE.encode(expected)))


def test_each_stated_answer_is_judged_once():
    assert find("so 3 so 4 so 3 so 3")[1] == ["3", "4"]


def test_spans_are_told_after_the_prompt_and_thinking_counts_what_was_injected():
    told = spans("a b", "!", " c</think>2")
    assert [row["kind"] for row in span_rows(told, ENGINE.decode)] == ["sampled", "injected", "sampled"]
    assert "".join(row["text"] for row in span_rows(told, ENGINE.decode)) == "a b! c</think>2"
    assert thinking_tokens(told, "a b! c", ENGINE.decode) == 6


@given(st.lists(st.text("abé", min_size=1, max_size=3), max_size=8), st.integers(0, 30))
def test_tokens_up_to_is_the_least_number_that_is_enough(pieces, characters):
    ids = list(range(len(pieces)))

    def decode(some):
        return "".join(pieces[i] for i in some)

    found = tokens_up_to(characters, ids, decode)
    if characters <= len(decode(ids)):
        assert len(decode(ids[:found])) >= characters
    assert found == 0 or len(decode(ids[: found - 1])) < characters
