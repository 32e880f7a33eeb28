"""The body of an HTTP request: read within bounds, checked, and what is wrong with it in plain words."""

import asyncio
import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from satisfice.gateway.failures import RequestRefused

BODY_S = 30.0  # for the body of a request to come

B = TypeVar("B", bound=BaseModel)

_EXPECTED = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "literal_error": "must be one of {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}
_EITHER = {
    "prompt": "must be a string, a list of strings, a list of token ids, or a list of such lists",
    "stop": "must be a string or a list of at most 16 strings, none of them empty",
    "content": "must be a string or a list of parts, each an object with a type",
    "input": "must be a string or a list of items, each an object",
    "system": "must be a string or a list of parts, each an object with a type",
    "think": "must be true, false, or one of low, medium, high, max",
    "logit_bias": "must be an object from token ids to numbers between -100 and 100",
}
"""What a field may be that may be several things."""
_BRANCHES = frozenset({"str", "list", "dict", "int"})


async def read_json(request: Request, most: int) -> dict[str, Any]:
    """Read the JSON object in the body of a request.

    Raises:
        RequestRefused: it is too long, comes too slowly, or is no JSON object.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestRefused(415, "Send JSON, with the header `Content-Type: application/json`.", code="no_json")
    try:
        async with asyncio.timeout(BODY_S):
            data = await read_bytes(request, most)
    except TimeoutError:
        raise RequestRefused(408, f"The body took more than {BODY_S:g} s to come.", code="too_slow") from None
    except ClientDisconnect:
        raise RequestRefused(400, "The body did not come whole.", code="invalid_json") from None
    try:
        row = json.loads(data, parse_constant=_no_number)
    except RecursionError:
        raise RequestRefused(400, "The body is nested too deeply.", code="invalid_json") from None
    except ValueError as error:
        raise RequestRefused(400, f"The body is no JSON: {error}", code="invalid_json") from None
    if not isinstance(row, dict):
        raise RequestRefused(400, "The body must be a JSON object.", code="invalid_json")
    return row


async def read_bytes(request: Request, most: int) -> bytes:
    """Return the body of a request; `RequestRefused` when it has more than `most` bytes."""
    said = f"The body has more than {most} bytes, which this server does not take."
    too_long = RequestRefused(413, said, code="too_large")
    told = request.headers.get("content-length", "")
    if told.isascii() and told.isdigit() and int(told[:20]) > most:
        raise too_long
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > most:
            raise too_long
    return bytes(data)


def checked(kind: type[B], row: dict[str, Any]) -> B:
    """Return a body as its type; `RequestRefused` names the first field that is wrong, and what it should be."""
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        raise _refusal(error) from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _refusal(error: ValidationError) -> RequestRefused:
    first = error.errors(include_url=False, include_input=False)[0]
    path: list[str] = []
    either = ""
    for at, part in enumerate(first["loc"], 1):
        # A union adds the name of the branch that it tried, which is no part of the body.
        if isinstance(part, int) or (
            re.fullmatch(r"[A-Za-z_]\w*", part) and part not in ("str", "list", "dict", "int")
        ):
            path.append(str(part))
        if str(part) in _EITHER and not either and at < len(first["loc"]):  # a branch follows: it may be several things
            either = str(part)
            break
    context = {name: value for name, value in (first.get("ctx") or {}).items() if name != "error"}
    kind = first["type"]
    if context.get("field_type") == "Value":  # the length of a string that was checked for something else first
        kind = f"string_{kind}"
    said = _EXPECTED.get(kind, "has a wrong value").format(**context)
    if first["type"] == "value_error":
        said = str((first.get("ctx") or {}).get("error", said))
    elif either and first["type"] != "missing":
        said = _EITHER[either]
    param = ".".join(path)[:200] or "body"
    message = f"{param}: {said}.".encode("utf-8", "replace").decode()
    return RequestRefused(400, message, code="invalid_value", param=param.encode("utf-8", "replace").decode())
