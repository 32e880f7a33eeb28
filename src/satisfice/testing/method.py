"""The battery for a method of any kind: what all methods have in common, then what their kind asks for."""

import dataclasses
import json
import pickle
from typing import Any

from satisfice import catalog
from satisfice.core.card import Card
from satisfice.core.fields import field_types
from satisfice.core.method import Kind, Method


class Faulty(AssertionError):
    """A method does not keep to the contract; the message says which part of it."""


def check_method(method: type[Method] | Method, kind: Kind[Any] | None = None) -> None:
    """Check a method of any kind: give its class (checked with its defaults) or an object with your own settings.

    `kind` says what kind of method it is; it is needed only where the method could be of several.

    Raises:
        Faulty: no default for some field, not frozen, another object after pickling or after a round trip through spec
            and JSON, a card that is not true, or whatever the battery of its kind found.
    """
    made = make(method) if isinstance(method, type) else method
    check_form(made)
    (catalog.kind_of(made) if kind is None else kind).check(made)


def make(method: type[Method]) -> Method:
    """Return the method with its defaults."""
    try:
        return method()
    except TypeError as error:
        raise Faulty(
            f"{method.__name__}: cannot be made without arguments; every field needs a default: {error}"
        ) from error


def check_form(method: Method) -> None:
    """Check what every method has: a frozen dataclass, a true card, the same object after pickling and in text."""
    cls = type(method)
    if not dataclasses.is_dataclass(method) or not cls.__dataclass_params__.frozen:
        raise Faulty(f"{cls.__name__}: must be a frozen dataclass, so that one object can serve many problems")
    card = getattr(method, "card", None)
    if not isinstance(card, Card):
        raise Faulty(f"{cls.__name__}: needs a class attribute `card`, a Card")
    claim(pickle.loads(pickle.dumps(method)) == method, method, "is another after pickling")
    claim(isinstance(hash(method), int), method, "cannot be hashed")
    claim(bool(card.where.strip()), method, "does not say where in its source it is described (`where`)")
    claim(card.fidelity == "standard" or bool(card.paper), method, f"claims {card.fidelity!r} and names no paper")
    claim(bool((cls.__doc__ or "").strip()), method, "has no docstring; its first line is its row in the docs")
    unknown = sorted(set(card.ours) - set(field_types(cls)))
    claim(not unknown, method, f"names fields in `ours` that it does not have: {', '.join(unknown)}")
    if catalog.METHODS.get(card.id) is cls:  # a stranger's own has no name that the catalogue could make it from
        kind = catalog.kind_of(method)
        spec = catalog.canonical(method)
        claim(catalog.build(spec, kind) == method, method, f"is another after a round trip through its spec {spec!r}")
        row = json.loads(json.dumps(catalog.as_json(method)))
        claim(catalog.from_json(row, kind) == method, method, f"is another after a round trip through JSON {row}")


def claim(holds: bool, method: Method, fault: str) -> None:
    """Raise `Faulty` with the method's id unless the claim holds."""
    if not holds:
        raise Faulty(f"{method.card.id}: {fault}")
