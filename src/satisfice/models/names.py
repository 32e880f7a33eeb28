"""What a model may be called: one grammar for every command and for `load_engine`.

    MODEL   = ADDRESS ["?" OPTIONS] | ["vllm:"] BASE {"+" PART} ["?" OPTIONS]
    ADDRESS = "http://..." | "https://..."
    BASE    = the name of a bundled model | a folder
    PART    = an adapter, by name or folder | TRANSFORM "(" field "=" value {"," field "=" value} ")"
    OPTIONS = option "=" value {"&" option "=" value}

Parts apply from left to right, each to what stands before it. Options are the engine's. A folder that exists is taken
as it is written, whatever signs are in its name. `valve(alpha=0.5)` is a transform of the adapter before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

from satisfice.core.errors import BadInput, UnknownName


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """A name, taken apart."""

    engine: Literal["local", "vllm", "http"]
    model: str  # base and parts; of a server the whole address
    options: str = ""  # what stands behind the question mark


def read_name(name: str) -> ModelName:
    """Take the name of a model apart.

    >>> read_name("vllm:smollm2+reasoning?dtype=float32")
    ModelName(engine='vllm', model='smollm2+reasoning', options='dtype=float32')
    """
    if name.startswith(("http://", "https://")):
        return ModelName(engine="http", model=name, options=name.partition("?")[2])
    engine: Literal["local", "vllm"] = "vllm" if name.startswith("vllm:") else "local"
    rest = name.removeprefix("vllm:")
    model, _, options = (rest, "", "") if Path(rest).is_dir() else rest.partition("?")
    return ModelName(engine=engine, model=model, options=options)


def last_part(model: str) -> tuple[str, str]:
    """Return what stands before the last part of a model, and that part; "" for one without.

    >>> last_part("smollm2+reasoning"), last_part("m+drop(layers=1+2)"), last_part("pocket")
    (('smollm2', 'reasoning'), ('m', 'drop(layers=1+2)'), ('pocket', ''))
    """
    depth = 0
    for place in range(len(model) - 1, 0, -1):
        depth += {")": 1, "(": -1}.get(model[place], 0)
        if model[place] == "+" and depth == 0:
            return model[:place], model[place + 1 :]
    return model, ""


def read_options(query: str, known: Mapping[str, type], where: str) -> dict[str, Any]:
    """Return what stands behind the question mark; `known` gives the type of each option.

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
