"""What methods ask of engines, trainers, models and data, and how a host that lacks it is refused."""

import contextlib
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.catalog import build, check_fit, methods_of
from satisfice.core.card import MEANING, Card, Need, Requirement
from satisfice.core.errors import Unfit
from satisfice.core.fit import asks, cards, require
from satisfice.core.rollouts import PROMPT, Column
from satisfice.core.session import POLICY
from satisfice.core.shaper import Loss, columns_of, reads
from satisfice.methods.parallel.first_finish import FirstFinish
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.o1_pruner import O1Pruner
from satisfice.methods.shaping.tldr import Tldr
from satisfice.methods.stopping.deer import Deer
from satisfice.methods.stopping.full import Full

HEADS = Requirement("value-head", "a value head", "trainer")
LAYERS = Requirement("linear-layers", "linear layers", "model")
WIDTH = Column("width", "how wide it is")
LEARNED = {"knowing-before-saying", "lynx", "specexit", "stop-value"}  # made with an artefact only


def card(name: str, **fields: Any) -> Card:
    return Card(id=name, paper="", where="here", fidelity="standard", **{"needs": frozenset(), **fields})


@dataclass(frozen=True, kw_only=True)
class Outer:
    """Asks of every host, and holds another."""

    card: ClassVar = card("outer", needs=frozenset({Need.FORK}), requires=frozenset({HEADS, LAYERS, WIDTH, PROMPT}))

    loss: ClassVar = Loss()

    inner: Any = field(default_factory=Grpo)


def test_every_need_of_an_engine_has_its_words() -> None:
    assert set(MEANING) == set(Need)


def test_what_is_asked_of_each_host() -> None:
    assert {one.name for one in asks(Outer(), "engine")} == {"fork"}
    assert asks(Outer(), "trainer") == {HEADS}
    assert asks(Outer(), "model") == {LAYERS}
    assert asks(Outer(), "data") == {WIDTH, PROMPT}
    assert reads(Outer(inner=Tldr())) == {"width", "prompt", "level"}, "what is inside counts"  # type: ignore[arg-type]
    assert [one.id for one in cards(FirstFinish(stop=Deer()))] == ["first-finish", "deer"]


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("engine", r"outer needs copies of a chain, which the bare engine .* the local engine, or a method .*: full\."),
        ("trainer", r"outer needs a value head, which bare does not have\. Take another trainer, or .*: deer, full\."),
        ("model", r"outer needs linear layers, which bare does not have\. Take another model"),
        ("data", r"outer reads prompt \(a lasting name of the prompt\), width \(how wide it is\), which bare does not"),
    ],
)  # fmt: skip
def test_a_host_that_lacks_something_is_refused_with_a_way_out(host: Any, says: str) -> None:
    with pytest.raises(Unfit, match=says):
        require(Outer(), "bare", frozenset(), host=host, others=[Full.card, Deer.card])


@given(st.frozensets(st.sampled_from(["fork", "value-head", "linear-layers", "width", "prompt"])))
def test_a_host_is_refused_exactly_when_it_lacks_something(provides: frozenset[str]) -> None:
    for host in ("engine", "trainer", "model", "data"):
        lacks = {one.name for one in asks(Outer(), host)} - provides  # type: ignore[arg-type]
        with pytest.raises(Unfit, match="outer") if lacks else contextlib.nullcontext():
            require(Outer(), "bare", provides, host=host)  # type: ignore[arg-type]


def test_an_engine_that_can_do_everything_fits_every_method() -> None:
    check_fit([build(name) for name in methods_of(POLICY) if name not in LEARNED], "whole", frozenset(Need))
    with pytest.raises(Unfit, match=r"deer needs .* full"):
        check_fit([Full(), FirstFinish(stop=Deer())], "bare", frozenset({Need.ABORT, Need.INJECT}))


def test_columns_of_a_shaper_are_those_it_reads_and_those_it_may_use() -> None:
    assert {column.name for column in columns_of(O1Pruner())} == {"reference_length", "reference_accuracy"}
    assert reads(O1Pruner()) == frozenset()
    assert Column("width", "told in other words") == WIDTH, "a name is a column"
