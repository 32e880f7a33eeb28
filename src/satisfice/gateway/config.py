"""The settings of a gateway from a file, and from there again while it runs."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from satisfice.catalog import build
from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.flags import settings
from satisfice.gateway.promise import promise_from
from satisfice.gateway.settings import Limits, Server, Settings

_TYPES: Mapping[str, type] = {"int": int, "float": float, "bool": bool, "text": str, "choice": str}


def _keys(settings_of: type) -> dict[str, type]:
    return {one.field: list if one.several else _TYPES[one.takes.kind] for one in settings(settings_of)}


KEYS: Mapping[str, type] = {
    "upstream": list, "model": str, "policy": str, "offers": dict, "limits": dict, "promise": dict,
    **_keys(Server), **_keys(Settings),
}  # fmt: skip
"""Keys of a file, each with its type. `promise` is what `satisfice recommend` found of the policy."""


def read_config(path: Path) -> dict[str, Any]:
    """The contents of a TOML file, checked.

    Raises:
        BadInput: it cannot be read, or a value is of the wrong type.
        UnknownName: a key is unknown.
    """
    try:
        row = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"config {path}: the file cannot be read as TOML: {error}.") from error
    for name, value in row.items():
        if name not in KEYS:
            raise UnknownName(f"key in {path}", name, KEYS)
        if not _fits(value, KEYS[name]):
            raise BadInput(f"config {path}: {name} must be a {KEYS[name].__name__}, got {value!r}.")
    for name, value in row.get("limits", {}).items():
        if name not in {field.name for field in fields(Limits)}:
            raise UnknownName(f"limit in {path}", name, [field.name for field in fields(Limits)])
        if not _fits(value, float):
            raise BadInput(f"config {path}: limits.{name} must be a number, got {value!r}.")
    return row


def settings_from(row: Mapping[str, Any]) -> Settings:
    """Settings as a config file (or the command line, which has the same names) says them.

    Raises:
        BadInput: a policy, a limit or a key is wrong.
    """
    reasoning = row.get("reasoning", "reasoning")
    if reasoning not in ("reasoning", "reasoning_content", "both"):
        raise BadInput(f"reasoning must be reasoning, reasoning_content or both, got {reasoning!r}.")
    offers = {name: build(spec, allow_files=True) for name, spec in row.get("offers", {}).items()}
    more = {name: row[name] for name in _SAME if name in row}
    return Settings(
        policy=build(row.get("policy", "full"), allow_files=True), offers=offers, reasoning=reasoning,
        keys=keys_in(row.get("api_key_env")), passed=tuple(row.get("passed", ())),
        limits=Limits(**row.get("limits", {})), promise=promise_from(row["promise"]) if row.get("promise") else None,
        **more,
    )  # fmt: skip


_SAME = (
    "shadow", "control", "keep_alive_s", "slow_s", "on_broken_promise", "keep_for_calibration", "kept_file",
    "kept_days",
)  # fmt: skip


def keys_in(variable: str | None) -> tuple[str, ...]:
    """Return the keys in an environment variable, commas between them."""
    if variable is None:
        return ()
    keys = tuple(key.strip() for key in os.environ.get(variable, "").split(",") if key.strip())
    if not keys:
        raise BadInput(f"api-key-env: the variable {variable} is not set, so no request could be accepted. Set it.")
    return keys


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
