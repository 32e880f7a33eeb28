"""The table of fields: what the documentation says is what the code does."""

from pathlib import Path
from typing import Any

import pytest

from satisfice.gateway.fields import FIELDS, speaks, table, treated

DOCS = Path(__file__).parents[2] / "docs" / "gateway.md"


def test_the_documentation_shows_the_table() -> None:
    assert table() in DOCS.read_text("utf-8"), "replace the table in docs/gateway.md by what fields.table() gives"


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_values_that_say_nothing_are_told_from_those_that_do(name: str) -> None:
    field = FIELDS[name]
    assert not speaks(name, None)
    for neutral in field.neutral:
        assert not speaks(name, neutral)
        assert treated({name: neutral}, field.treatment) == {}
    assert treated({name: "something"}, field.treatment) == {name: "something"}


def test_true_is_not_one() -> None:
    pairs: list[tuple[str, Any]] = [("n", True), ("logprobs", 0), ("min_p", False), ("echo", 0)]
    assert all(speaks(name, value) for name, value in pairs)
    assert list(treated({"response_format": {}, "tools": [1], "user": "x"}, "answer")) == ["tools", "response_format"]
