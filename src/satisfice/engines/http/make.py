"""The engine for an address, by the route that it names."""

from typing import Any

from satisfice.core.errors import BadInput
from satisfice.engines.http.address import options_in
from satisfice.engines.http.chat import ChatEngine
from satisfice.engines.http.engine import HttpEngine


def make_engine(address: str, **options: Any) -> HttpEngine | ChatEngine:
    """Return the engine for a server; options in the address win. `route=chat` is for servers with that route alone.

    Raises:
        BadInput: an option does not go with the route, or the server cannot be used.
    """
    told = {**options, **options_in(address)}
    route = told.pop("route", "completions")
    if route not in ("completions", "chat"):
        raise BadInput(f"{address}: route must be completions or chat, got {route!r}.")
    wrong = {"tokenizer", "template"} if route == "chat" else {"budget"}
    if bad := sorted(wrong & told.keys()):
        raise BadInput(f"{address}: {bad[0]} has no meaning with route={route}. Leave it out.")
    return ChatEngine(address, **told) if route == "chat" else HttpEngine(address, **told)
