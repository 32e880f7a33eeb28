"""Whether an engine, a trainer, a model or some data have what a method asks for: asked once, before anything runs."""

import dataclasses
from collections.abc import Collection, Iterable
from typing import Any

from satisfice.core.card import Card, Host, Requirement
from satisfice.core.errors import Unfit


def cards(method: Any) -> list[Card]:
    """Return the card of a method and those of the methods inside it."""
    fields = (
        [getattr(method, field.name) for field in dataclasses.fields(method)]
        if dataclasses.is_dataclass(method)
        else []
    )
    inner = [value for value in fields if isinstance(getattr(value, "card", None), Card)]
    return [method.card, *(card for part in inner for card in cards(part))]


def asks(method: Any, host: Host) -> frozenset[Requirement]:
    """Return what a method, and those inside it, ask of one host."""
    return frozenset().union(*(card.asks(host) for card in cards(method)))


def require(
    method: Any,
    name: str,
    provides: Collection[str],
    *,
    host: Host,
    others: Iterable[Card] = (),
    more: Iterable[Requirement] = (),
    way_out: str = "",
) -> None:
    """Raise `Unfit` with a helpful sentence when a host lacks something that the method, or one inside it, asks for.

    `name` is the host as people know it ("local", "TRL") and `provides` the names of what it has. `others` are methods
    to suggest: those that the host can run are named. `more` is what the method asks for beyond its card. `way_out` is
    the sentence that says what to do; without it, to take another host.
    """
    for place, card in enumerate(cards(method)):
        asked = card.asks(host) | frozenset(one for one in more if place == 0 and one.host == host)
        missing = sorted((one for one in asked if one.name not in provides), key=lambda one: one.name)
        if not missing:
            continue
        fit = sorted(other.id for other in others if all(one.name in provides for one in other.asks(host)))
        instead = f", or a method that this {host} can run: {', '.join(fit)}" if fit else ""
        means = " and ".join(one.means for one in missing)
        if host == "engine":
            told = f"needs {means}, which the {name} engine does not provide."
            way = f"Use the local engine{instead}."
        elif host == "data":
            columns = ", ".join(f"{one.name} ({one.means})" for one in missing)
            told = f"reads {columns}, which {name} does not give here."
            way = "Add it to the data or the rollouts, or choose a method that reads lengths and verdicts only."
        else:
            told, way = f"needs {means}, which {name} does not have.", f"Take another {host}{instead}."
        raise Unfit(f"{card.id} {told} {way_out or way}")
