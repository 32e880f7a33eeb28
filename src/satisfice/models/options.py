"""Options of an engine behind the name of a model, as in `http://host:8000?connections=8`."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from satisfice.core.errors import BadInput, UnknownName


def read_options(query: str, known: Mapping[str, type], where: str) -> dict[str, Any]:
    """What stands behind the question mark; `known` gives the type of each option.

    Raises:
        BadInput: an option that there is not, or a value that is no number where one belongs.

    >>> read_options("dtype=float32&batch=64", {"dtype": str, "batch": int}, "vllm:FOLDER")
    {'dtype': 'float32', 'batch': 64}
    """
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise UnknownName(f"option in {where}", name, known)
        try:
            options[name] = known[name](value)
        except ValueError:
            raise BadInput(f"{name} in {where} must be a number, got {value!r}.") from None
    return options
