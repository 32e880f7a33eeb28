"""Server-sent events and JSON as they go over the wire; pure."""

import json
from typing import Any

_JSON = json.JSONEncoder(separators=(",", ":")).encode

DONE = b"data: [DONE]\n\n"
COMMENT = b": still thinking\n\n"


def text(row: Any) -> str:
    """JSON without spaces, in ASCII, so that it may stand in a header too."""
    return _JSON(row)


def dumps(row: Any) -> bytes:
    """JSON without spaces, as bytes."""
    return _JSON(row).encode()


def named_event(row: Any) -> bytes:
    """Return a server-sent event that carries its `type` as its name too."""
    return f"event: {row['type']}\n".encode() + event(row)


def event(row: Any) -> bytes:
    """Return a server-sent event."""
    return b"data: " + dumps(row) + b"\n\n"
