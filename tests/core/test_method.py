"""Kinds and families: who belongs where."""

import importlib
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import pytest

from satisfice.catalog import FAMILIES, KINDS, kind_of
from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.method import Family, Kind, Methods, join
from satisfice.methods.stopping.deer import Deer
from satisfice.testing import Faulty, check_method


def card(name: str) -> Card:
    return Card(id=name, paper="", where="here", needs=frozenset(), fidelity="standard")


class Merge(Protocol):
    """Merges tensors."""

    card: ClassVar[Card]
    scale: float

    def plan(self) -> str: ...

    def __call__(self, name: str, tensors: Sequence[Any], /) -> Any: ...


MERGE: Kind[Merge] = Kind(name="merge", protocol=Merge, example="mean", about="A merge ...", battery="tests:none")


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean."""

    card: ClassVar = card("mean")
    scale: float = 1.0

    def plan(self) -> str:
        return "mean"

    def __call__(self, name: str, tensors: Sequence[Any]) -> Any:
        return sum(tensors) / len(tensors)


class Unplanned:
    """No plan."""

    card = card("unplanned")
    scale = 1.0

    def __call__(self, name: str, tensors: Sequence[Any]) -> Any: ...


class OneArgument(Mean):
    """Takes one argument."""

    def __call__(self, tensors: Sequence[Any]) -> Any: ...  # type: ignore[override]


class Asynchronous(Mean):
    """Is a coroutine."""

    async def __call__(self, name: str, tensors: Sequence[Any]) -> Any: ...


class MoreByDefault(Mean):
    """Takes more, which need not be given."""

    def __call__(self, name: str, tensors: Sequence[Any], *, base: Any = None) -> Any: ...


@pytest.mark.parametrize(
    ("method", "fits"),
    [(Mean, True), (Unplanned, False), (OneArgument, False), (Asynchronous, False), (MoreByDefault, True)],
)
def test_a_kind_accepts_what_has_its_members_and_its_call(method: type, fits: bool) -> None:
    assert MERGE.accepts(method) is fits
    assert MERGE.members == {"card", "scale", "plan"}


def test_families_with_a_shared_id_or_another_id_than_the_card_are_refused() -> None:
    one = Family(name="one", kind=MERGE, methods={"mean": Mean})
    assert join((one,)) == {"one": one}
    with pytest.raises(ValueError, match="mean is a method of one and of two"):
        join((one, Family(name="two", kind=MERGE, methods={"mean": Mean})))
    with pytest.raises(ValueError, match="deer is a method of stopping and of mine"):
        join((*FAMILIES.values(), Family(name="mine", kind=MERGE, methods={"deer": Mean})))


def test_a_table_loads_a_method_when_it_is_asked_for() -> None:
    table: Methods[object] = Methods("satisfice.methods.stopping", {"deer": "deer:Deer", "dear": "deer:Deer"})
    assert list(table) == ["deer", "dear"]
    assert table["deer"] is table.class_named("Deer") is Deer
    with pytest.raises(ValueError, match="dear has a card that says deer"):
        table["dear"]
    with pytest.raises(AttributeError, match="has no attribute 'Dear'"):
        table.class_named("Dear")
    for family in FAMILIES.values():
        assert [method.card.id for method in family.methods.values()] == list(family.methods), "every line is right"
        package = importlib.import_module(f"satisfice.methods.{family.name}")
        assert [getattr(package, method.__name__) for method in family.methods.values()] == [*family.methods.values()]


def test_importing_the_catalogue_loads_no_method() -> None:
    code = "import sys, satisfice.catalog; print([n for n in sys.modules if n.startswith('satisfice.methods.s')])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "satisfice.methods.stopping" in told
    assert not re.search(r"stopping\.|shaping\.|scoring\.", told)


def test_the_battery_of_a_kind_is_loaded_when_it_is_used() -> None:
    with pytest.raises(AttributeError, match="none"):
        MERGE.check(Mean())


@pytest.mark.parametrize("kind", KINDS.values(), ids=str)
def test_the_battery_that_a_kind_names_is_there(kind: Kind[Any]) -> None:
    module, _, function = kind.battery.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """Can be called with nothing."""

    card: ClassVar = card("nothing")

    def __call__(self) -> None: ...


def test_a_method_of_no_kind_is_told_what_the_kinds_are() -> None:
    with pytest.raises(BadInput, match=r"Nothing fits no kind of method\. A policy is called with"):
        kind_of(Nothing)
    with pytest.raises(BadInput, match="fits no kind"):
        check_method(Nothing)


@dataclass(frozen=True, kw_only=True)
class Wild:
    """Scores by the number of texts."""

    card: ClassVar = card("wild")

    def __call__(self, question: str, texts: Sequence[str]) -> list[float]:
        return [float(len(texts))] * len(texts)


@dataclass(frozen=True, kw_only=True)
class Raw:
    """Keeps scores above 1, whatever they are relative to."""

    card: ClassVar = card("raw")

    def keep(self, logits: Any) -> Any:
        return (logits > 1) | (logits >= logits.max(-1, keepdims=True))

    def __call__(self, logits: Any) -> Any:
        out = logits.copy()
        out[~self.keep(logits)] = -float("inf")
        return out


@dataclass(frozen=True, kw_only=True)
class Empty(Raw):
    """Keeps nothing where nothing is above 1."""

    def keep(self, logits: Any) -> Any:
        return logits > 1


@dataclass(frozen=True, kw_only=True)
class Other(Raw):
    """Keeps the best and cuts nothing."""

    def __call__(self, logits: Any) -> Any:
        return logits.copy()


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        (Wild, "depends on which other texts"),
        (Raw, "depends on a constant"),
        (Empty, "keeps no token"),
        (Other, "does not score as `keep` says"),
    ],
)
def test_the_batteries_of_scorers_and_filters_catch(method: type[Any], fault: str) -> None:
    with pytest.raises(Faulty, match=fault):
        check_method(method)
