"""The fields of a method are its hyperparameters: their types and ranges, checked when it is made."""

import dataclasses
import enum
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from satisfice.core.errors import BadInput


@dataclass(frozen=True)
class Range:
    """The values that a number may take, ends included; `None` is no bound. Used as `Annotated[int, Range(1)]`.

    >>> str(Range(1)), str(Range(0, 1)), str(Range())
    ('at least 1', 'from 0 to 1', 'any')
    """

    low: float | None = None
    high: float | None = None

    def __contains__(self, value: float) -> bool:
        try:
            finite = math.isfinite(value)
        except OverflowError:  # a whole number beyond all floats
            return False
        return finite and (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return "any"
        if self.low is None or self.high is None:
            return f"at least {self.low}" if self.high is None else f"at most {self.high}"
        return f"from {self.low} to {self.high}"


class Counts(enum.Enum):
    """What a whole number counts, where a server must bound it. Used as `Annotated[int, Range(1), Counts.CHAINS]`."""

    CHAINS = "chains"  # chains, or rounds of chains: each costs a whole thinking
    LIKELIEST = "likeliest tokens"  # seen at each position: each is sent and kept


@dataclass(frozen=True, kw_only=True)
class FieldType:
    """What one field takes."""

    kind: Literal["int", "float", "bool", "text", "choice", "method"]
    optional: bool = False  # None is a value too
    range: Range = Range()
    counts: Counts | None = None  # what an int counts, if a server must bound it
    choices: tuple[str, ...] = ()
    protocol: type | None = None  # for a method, what it must be: Policy, Filter

    def __str__(self) -> str:
        what = {
            "int": f"a whole number ({self.range})",
            "float": f"a number ({self.range})",
            "bool": "true or false",
            "text": "text",
            "choice": f"one of {', '.join(self.choices)}",
            "method": f"a {getattr(self.protocol, '__name__', 'method').lower()}",
        }[self.kind]
        return f"{what}, or none" if self.optional else what

    def fits(self, value: object) -> bool:
        """Return whether a value is of this type and within its range."""
        if value is None:
            return self.optional
        match self.kind:
            case "int":
                return isinstance(value, int) and not isinstance(value, bool) and value in self.range
            case "float":
                return isinstance(value, int | float) and not isinstance(value, bool) and value in self.range
            case "bool":
                return isinstance(value, bool)
            case "text":
                return isinstance(value, str)
            case "choice":
                return value in self.choices
            case "method":
                return callable(value) and not isinstance(value, type)


def field_types(method: type) -> dict[str, FieldType]:
    """Return the fields of a method in their order, with what each takes."""
    hints = get_type_hints(method, include_extras=True)
    return {field.name: field_type(hints[field.name]) for field in dataclasses.fields(method) if field.init}


def check_fields(method: Any) -> None:
    """For `__post_init__`: raise `BadInput` when a field has a wrong type or is out of range.

    Whole numbers in a float field become floats, so that equal settings are written alike.
    """
    card = getattr(method, "card", None)
    for name, kind in field_types(type(method)).items():
        value = getattr(method, name)
        if not kind.fits(value):
            raise BadInput(f"{card.id if card else type(method).__name__}: {name} must be {kind}, got {value!r}.")
        if kind.kind == "float" and isinstance(value, int):
            object.__setattr__(method, name, float(value))


def field_type(hint: Any) -> FieldType:
    """Return what a field with this annotation takes."""
    bounds, counts = Range(), None
    if get_origin(hint) is typing.Annotated:
        hint, *notes = get_args(hint)
        bounds = next((note for note in notes if isinstance(note, Range)), bounds)
        counts = next((note for note in notes if isinstance(note, Counts)), None)
    optional = False
    if get_origin(hint) in (typing.Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not type(None)]
        optional = len(members) < len(get_args(hint))
        if len(members) != 1:
            raise TypeError(f"a field of a method has one type, or one type or None; got {hint}")
        inner = field_type(members[0])
        return dataclasses.replace(
            inner, optional=optional, range=bounds if bounds != Range() else inner.range, counts=counts or inner.counts
        )
    if get_origin(hint) is Literal:
        return FieldType(kind="choice", choices=get_args(hint))
    simple: dict[Any, Literal["int", "float", "bool", "text"]] = {int: "int", float: "float", bool: "bool", str: "text"}
    if hint in simple:
        return FieldType(kind=simple[hint], range=bounds, counts=counts)
    return FieldType(kind="method", protocol=hint if isinstance(hint, type) else None)
