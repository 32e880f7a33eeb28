"""Errors that name what is near."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import FEW, NEAREST, UnknownName, shortlist


def test_a_short_list_is_given_whole() -> None:
    assert str(UnknownName("split", "evall", ["train", "eval"])) == (
        "unknown split 'evall'. Did you mean 'eval'? Known: eval, train."
    )


def test_of_a_long_list_only_the_nearest_are_named() -> None:
    known = [f"method-{i}" for i in range(60)] + ["deer"]
    message = str(UnknownName("policy", "deeer", known))
    assert "Did you mean 'deer'?" in message
    assert "The nearest of 61: deer, " in message
    assert len(message) < 200


@given(st.text(max_size=12), st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=60))
def test_a_list_is_never_longer_than_it_may_be(name: str, known: set[str]) -> None:
    shown = shortlist(name, known)
    assert shown.startswith("Known: " if len(known) <= FEW else f"The nearest of {len(known)}: ")
    assert sum(one in shown for one in known) >= min(len(known), NEAREST)


@pytest.mark.parametrize("name", ["alpha", "omega"])
def test_a_name_that_is_there_is_the_nearest(name: str) -> None:
    known = [f"{name}{i}" for i in range(40)] + [name]
    assert shortlist(name, known).partition(": ")[2].split(", ")[0] == name
