"""Answers in prose and pairs of answers that were once read wrongly, with what a careful person reads."""

import pytest

from satisfice.answers import extract_flexible, same, verify
from satisfice.core.problem import Verdict


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is 12. I checked it twice.", "12"),
        ("So the answer is 12, since 3*4 = 12.", "12"),
        ("Answer: 42 (approximately)", "42"),
        (r"Therefore the answer is $\frac{1}{2}$, which is 0.5.", "1/2"),
        ("**Answer:** **73**", "73"),
        ("The final answer is 1{,}000 dollars.", "1000"),
        ("I first got 9. No, the answer is 8!", "8"),
        ("The answer is therefore odd.", "odd"),
    ],
)
def test_an_answer_in_prose_has_the_value_that_a_reader_takes_from_it(text: str, value: str) -> None:
    answer = extract_flexible(text)
    assert verify(answer, value) is Verdict.RIGHT, answer
    assert verify(answer, value + "1") is Verdict.WRONG, answer


@pytest.mark.parametrize(
    ("answer", "reference", "equal"),
    [
        ("AB", "BA", False),
        ("no", "on", False),
        ("p or q", "p and q", False),
        ("2024-01-02", "2024-02-01", False),
        (r"\frac{1}{2^{98}}", r"\frac{1}{2^{99}}", False),
        ("H2O", "HO2", False),
        ("5 m", "5 cm", False),
        ("6=5", "5", False),
        (r"1\,000", "1000", True),
        ("1 000", "1000", True),
        ("90°", "90", True),
        ("1 1/2", "3/2", True),
        ("½", "1/2", True),
        ("A)", "A", True),
        ("**73**", "73", True),
        ("12:00", "1:00", False),
        ("2^{2^{2^{2^{2^{2}}}}}", "5", False),
    ],
)
def test_an_answer_equals_its_reference_or_does_not(answer: str, reference: str, equal: bool) -> None:
    assert verify(answer, reference) is (Verdict.RIGHT if equal else Verdict.WRONG)
    assert same(answer, reference) is equal
    assert same(reference, answer) is equal
