"""What all methods have in common, and what sets kinds of methods apart."""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from satisfice.core.card import Card

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Method(Protocol):
    """A frozen dataclass with a card. Its kind says what it is called with."""

    card: ClassVar[Card]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings that one of our studies recommends for a model: `presets: ClassVar = {"pocket": Preset(...)}`.

    People write `deer@pocket`; what is printed and stored is the spec with its fields.
    """

    fields: Mapping[str, Any]
    study: str  # folder of the study whose page shows what these settings save and cost


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[T_co]):
    """What the methods of one or more families are called with, and how to check them: `Kind[Policy]`."""

    name: str  # as people read it: "policy"
    protocol: type  # what a method of this kind can do; a field of this type holds such a method
    example: str  # specs, with commas between them
    about: str  # a sentence for the docs and for errors: "A policy takes a session and returns ..."
    battery: str  # "module:function", loaded when it is used: called with a method, raises `Faulty`

    def __str__(self) -> str:
        return self.name

    @property
    def members(self) -> frozenset[str]:
        """Return the names that the protocol asks for, apart from the call."""
        own = {name for name in vars(self.protocol) if not name.startswith("_")}
        return frozenset(own.union(getattr(self.protocol, "__annotations__", ())))

    def accepts(self, method: type) -> bool:
        """Return whether a class has what the protocol asks for and takes the same call."""
        fields = getattr(method, "__dataclass_fields__", {})
        has_all = all(hasattr(method, name) or name in fields for name in self.members)
        return has_all and _same_call(self.protocol, method)

    def check(self, method: object) -> None:
        """Run the battery of this kind on a method."""
        module, _, function = self.battery.partition(":")
        getattr(importlib.import_module(module), function)(method)


class Methods(Mapping[str, type[T]]):
    """Methods by id, each loaded from its file when it is first asked for.

    The table of a family has a line per method, `"deer": "deer:Deer"`: its id, the module in the package, the class.

    Raises:
        ValueError: a line is wrong: no such module or class, or a card with another id than the table.
    """

    def __init__(self, package: str, table: Mapping[str, str]) -> None:
        self._package, self._table = package, dict(table)

    def __getitem__(self, name: str) -> type[T]:
        module, _, cls = self._table[name].partition(":")
        found: Any = getattr(importlib.import_module(f"{self._package}.{module}"), cls)
        if found.card.id != name:
            raise ValueError(f"{self._package}: {name} has a card that says {found.card.id}. Make them equal.")
        return cast(type[T], found)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def class_named(self, cls: str) -> type[T]:
        """Return a method by the name of its class: what `from satisfice.methods.stopping import Deer` asks for.

        Raises:
            AttributeError: no method of the table has a class of that name.
        """
        for name, place in self._table.items():
            if place.endswith(f":{cls}"):
                return self[name]
        raise AttributeError(f"module {self._package!r} has no attribute {cls!r}")


@dataclass(frozen=True, kw_only=True)
class Family(Generic[T_co]):
    """A package of methods of one kind, each in its own file; the package exports it as `FAMILY`."""

    name: str  # of the package: "stopping"
    kind: Kind[T_co]
    methods: Mapping[str, type[T_co]]  # by id


def join(families: tuple[Family[Any], ...]) -> dict[str, Family[Any]]:
    """Return families by name.

    Raises:
        ValueError: two methods of any kind share an id.
    """
    homes: dict[str, str] = {}
    for family in families:
        for name in family.methods:
            if name in homes:
                raise ValueError(f"{name} is a method of {homes[name]} and of {family.name}. Give one another id.")
            homes[name] = family.name
    return {family.name: family for family in families}


def _same_call(protocol: type, method: type) -> bool:
    """Return whether both take as many arguments that must be given, and both or neither return a coroutine."""
    calls = protocol.__call__, method.__call__  # of their instances
    asynchronous, required = ({f(call) for call in calls} for f in (inspect.iscoroutinefunction, _required))
    return len(asynchronous) == len(required) == 1


def _required(call: Callable[..., Any]) -> int:
    return sum(p.default is p.empty and p.kind < p.VAR_POSITIONAL for p in inspect.signature(call).parameters.values())
