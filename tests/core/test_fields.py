"""Fields of methods: types, ranges, and what a person is told when one is wrong."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import pytest

from satisfice.core.errors import BadInput
from satisfice.core.fields import Counts, Range, check_fields, field_types
from satisfice.methods import parallel


@dataclass(frozen=True, kw_only=True)
class Rule:
    card: ClassVar = None

    share: Annotated[float, Range(0, 1)] = 0.5
    steps: Annotated[int, Range(1)] | None = None
    mode: Literal["fast", "slow"] = "fast"
    loud: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        check_fields(self)


def test_what_each_field_takes_reads_as_a_sentence() -> None:
    assert {name: str(kind) for name, kind in field_types(Rule).items()} == {
        "share": "a number (from 0 to 1)",
        "steps": "a whole number (at least 1), or none",
        "mode": "one of fast, slow",
        "loud": "true or false",
        "name": "text",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("share", 1.1), ("share", float("nan")), ("share", "1"), ("share", True), ("share", None), ("steps", 0),
        ("steps", 1.0), ("steps", True), ("mode", "other"), ("mode", None), ("loud", 1), ("name", 3),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_name_with_what_would_be_right(field: str, value: object) -> None:
    with pytest.raises(BadInput) as caught:
        Rule(**{field: value})
    assert str(caught.value) == f"Rule: {field} must be {field_types(Rule)[field]}, got {value!r}."


def test_a_whole_number_in_a_float_field_becomes_a_float() -> None:
    assert repr(Rule(share=1)) == repr(Rule(share=1.0))
    assert Rule(steps=None).steps is None


def test_what_a_number_counts_is_told_with_its_type() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Crowd:
        n: Annotated[int, Range(1), Counts.CHAINS] = 3
        most: Annotated[int, Range(1), Counts.CHAINS] | None = None
        top: Annotated[int, Counts.LIKELIEST, Range(2)] = 20
        tokens: Annotated[int, Range(1)] = 5

    kinds = field_types(Crowd)
    assert [kinds[name].counts for name in ("n", "most", "top", "tokens")] == [
        Counts.CHAINS, Counts.CHAINS, Counts.LIKELIEST, None,
    ]  # fmt: skip
    assert (kinds["most"].optional, kinds["most"].range, kinds["top"].range) == (True, Range(1), Range(2))


def test_a_policy_over_n_chains_says_that_n_counts_them() -> None:
    kinds = [field_types(method) for method in parallel.FAMILY.methods.values()]
    assert {kind["n"].counts for kind in kinds if "n" in kind} == {Counts.CHAINS}
