import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.answers.extract import boxed, extract_flexible, extract_strict, read_trial

balanced = st.recursive(
    st.text("abc 12+-.", max_size=5), lambda inner: st.lists(inner, max_size=3).map(lambda p: "{" + "".join(p) + "}")
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{1} then \boxed{2}", "2"),  # the last one counts
        (r"\boxed{\frac{a}{b}}", r"\frac{a}{b}"),  # braces nest
        (r"\boxed{\{1\}}", r"\{1\}"),  # escaped braces are text
        (r"\boxed {7}", "7"),
        (r"\boxed{7} or \boxed{8", "7"),  # an unclosed box is no box
        (r"\boxed{}", None),
        (r"\boxed{ }", None),
        (r"\boxed{1} \boxed{}", None),  # taken back
        (r"\boxed{\boxed{3}}", "3"),
        (r"} { \boxed{3}", "3"),
        ("7", None),
        ("", None),
    ],
)
def test_boxed(text: str, answer: str | None) -> None:
    assert boxed(text) == answer
    assert extract_strict(text, "boxed") == answer


@pytest.mark.parametrize(("text", "answer"), [(" 417 \n", "417"), ("so 417", "so 417"), (" \n", None), ("", None)])
def test_plain_is_the_whole_visible_text(text: str, answer: str | None) -> None:
    assert extract_strict(text, "plain") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"The answer is 3, so \boxed{4}", "4"),
        ("**Final Answer:** 12 apples.", "12 apples"),
        ("Final Answer\n42", "42"),
        ("The final answer is: x + 1", "x + 1"),
        ("the answer is 1. No, the answer is 2.", "2"),
        ("The answer is $5$", "5"),
        ("we get 3, then 1,234.5!", "1,234.5"),
        ("minus: -7.", "-7"),
        ("half is 1/2", "1/2"),
        ("5-3", "3"),
        ("2024-11-21", "2024-11-21"),
        ("version v2", None),
        ("", None),
        ("no idea", None),
    ],
)
def test_flexible(text: str, answer: str | None) -> None:
    assert extract_flexible(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("12", "12"),
        (" 12} wait", "12"),
        (r"\frac{1}{2}} so", r"\frac{1}{2}"),
        (r"it is \boxed{3}", "3"),
        ("}", None),
        ("", None),
    ],
)
def test_a_trial_is_read_up_to_the_first_unmatched_brace(text: str, answer: str | None) -> None:
    assert read_trial(text) == answer


@given(content=balanced, before=st.text("ab {", max_size=8), after=st.text("ab }", max_size=8))
def test_what_was_boxed_comes_out_whole(content: str, before: str, after: str) -> None:
    assert boxed(f"{before}\\boxed{{{content}}}{after}") == (content.strip() or None)


@given(text=st.text())
def test_an_answer_is_never_empty_and_always_part_of_the_text(text: str) -> None:
    for answer in (boxed(text), extract_flexible(text), extract_strict(text, "plain"), read_trial(text)):
        assert answer is None or (answer.strip() == answer != "" and answer in text)


@given(number=st.integers(), words=st.lists(st.sampled_from(["so", "then", "it", "makes"]), max_size=4))
def test_flexible_finds_the_only_number(number: int, words: list[str]) -> None:
    assert extract_flexible(" ".join([*words, str(number), *words])) == str(number)


def test_long_hostile_text_is_read_in_linear_time() -> None:
    for text in ("\\boxed{" * 3_000, "{" * 50_000, "answer is " * 5_000, "1,111" * 10_000, "answer is" + " *" * 50_000):
        begin = time.process_time()
        extract_flexible(text)
        read_trial(text)
        assert time.process_time() - begin < 2
