"""The address of a server, and the options that stand behind it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from satisfice.core.errors import BadInput
from satisfice.models.names import read_options

IN_ADDRESS: Mapping[str, type] = {
    "model": str, "tokenizer": str, "template": str, "profile": str, "max_length": int, "connections": int,
    "silence_s": float, "first_s": float, "patience_s": float, "key_env": str,
    "route": str, "budget": str,
}  # fmt: skip


def base_of(address: str) -> str:
    """Return the address of the interface, ending in `/v1`.

    >>> base_of("http://localhost:8000"), base_of("https://host/serve/v1/?model=qwen")
    ('http://localhost:8000/v1', 'https://host/serve/v1')
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"server address {address!r} must begin with http:// or https:// and name a host.")
    if parts.username or parts.password:
        raise BadInput("a server address must not hold a password: put the key into SATISFICE_API_KEY instead.")
    path = parts.path.rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path if path.endswith("/v1") else path + "/v1", "", ""))


def options_in(address: str) -> dict[str, Any]:
    """Return the engine's options that stand in an address, such as `http://host:8000?model=qwen&connections=8`."""
    return read_options(urlsplit(address).query, IN_ADDRESS, "the server's address")
