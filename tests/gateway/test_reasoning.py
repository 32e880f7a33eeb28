"""What a client reads of a chain, piece by piece."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.engines import SCRIPTED, scripted

from satisfice.core.profile import HARMONY, QWEN3
from satisfice.gateway.reasoning import Delta, ReasoningParser

TEXT = "\n so 46\nWait, 46-12=34 yes \n</think>\n\nIt is 46. STOP and more<|end|>"
ENGINE = scripted("")


def read(text: str, cuts: Sequence[int] = (), profile=SCRIPTED, **options) -> tuple[str, str, ReasoningParser]:  # type: ignore[no-untyped-def]
    engine = scripted("", profile=profile)
    ids = engine.encode(text)
    parser = ReasoningParser(engine, **options)
    pieces: list[Delta] = []
    at = 0
    for cut in [*sorted(cuts), len(ids)]:
        pieces += parser.take(ids[at : max(at, min(cut, len(ids)))])
        at = max(at, min(cut, len(ids)))
    pieces += parser.end()
    assert parser.count == len(ids)
    reasoning, content = ("".join(t for kind, t, _ in pieces if kind == k) for k in ("reasoning", "content"))
    return reasoning, content, parser


@given(st.lists(st.integers(0, 40), max_size=20))
def test_however_it_is_cut_the_client_reads_the_same(cuts: list[int]) -> None:
    reasoning, content, parser = read(TEXT, cuts)
    assert reasoning == "so 46\nWait, 46-12=34 yes"
    assert content == "It is 46. STOP and more"
    assert parser.answer_from == ENGINE.encode(TEXT).index(ENGINE.encode("</think>")[0]) + 1


@given(st.lists(st.integers(0, 40), max_size=20))
def test_a_stop_text_ends_the_answer_and_not_the_thinking(cuts: list[int]) -> None:
    reasoning, content, parser = read(TEXT, cuts, stop=["46. S", "OP", "46-12"])
    assert (reasoning, content, parser.stopped) == ("so 46\nWait, 46-12=34 yes", "It is ", True)


@given(st.lists(st.integers(0, 40), max_size=20))
def test_raw_text_is_shown_as_it_is(cuts: list[int]) -> None:
    assert read(TEXT, cuts, raw=True)[:2] == ("", TEXT.removesuffix("<|end|>"))
    assert read(" 1</think>2", cuts, raw=True, thinks=False)[:2] == ("", " 1</think>2")
    assert read("a STOP</think>b STOP c", cuts, raw=True, stop=["STOP"])[:2] == ("", "a STOP</think>b ")


def test_thinking_that_was_filled_in_is_not_shown_but_a_closing_sentence_is() -> None:
    assert read(QWEN3.skip_thinking + "46", profile=QWEN3)[:2] == ("", "46")
    reasoning, content, _ = read("so 46" + QWEN3.close_thinking + "46", profile=QWEN3)
    assert reasoning.startswith("so 46\n\nConsidering the limited time")
    assert content == "46"
    assert read("thinking" + HARMONY.think_close + "46", profile=HARMONY)[:2] == ("thinking", "46")


@pytest.mark.parametrize("text", ["", "   ", "</think>", "\n</think>\n", "no end", "</thi", "a</think>"])
def test_edges(text: str) -> None:
    reasoning, content, _ = read(text, range(len(text)))
    assert (reasoning, content) == (text.partition("</think>")[0].strip(), "")


def test_a_character_is_shown_when_it_is_whole() -> None:
    class Bytes:
        profile, end_ids = SCRIPTED, frozenset[int]()

        def piece(self, token: int) -> bytes:
            return bytes([token])

    parser = ReasoningParser(Bytes())  # type: ignore[arg-type]
    got = [parser.take([byte]) for byte in "a等b".encode()]
    assert got == [[Delta("reasoning", "a")], [], [], [Delta("reasoning", "等")], [Delta("reasoning", "b")]]
    assert parser.take("等".encode()[:2]) == []
    assert parser.end() == [Delta("reasoning", "\ufffd")]
