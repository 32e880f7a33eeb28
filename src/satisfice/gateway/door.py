"""Who may come in, with how much at once, and what they may bring."""

import asyncio
import difflib
import hmac
import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from satisfice.core.errors import SatisficeError
from satisfice.gateway.body import Body
from satisfice.gateway.settings import Limits

MINUTE = 60.0  # seconds
BODY_S = 30.0  # for the body of a request to come

B = TypeVar("B", bound=Body)


class Refusal(SatisficeError):
    """A request is turned away: an HTTP status, and what to do."""

    def __init__(
        self, status: int, message: str, *, code: str, param: str | None = None, retry_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.retry_s = retry_s


@dataclass(eq=False)
class Guest:
    """Whoever holds one key, or everybody where there are no keys."""

    running: int = 0
    spent: deque[tuple[float, int]] = field(default_factory=deque)  # (monotonic seconds, tokens), one minute of it

    def spend(self, tokens: int) -> None:
        """Tokens were sampled for it."""
        self.spent.append((time.monotonic(), tokens))

    def spent_in_a_minute(self) -> int:
        """Tokens in the last minute."""
        while self.spent and self.spent[0][0] < time.monotonic() - MINUTE:
            self.spent.popleft()
        return sum(tokens for _, tokens in self.spent)


class Door:
    """Lets requests in. Without keys everybody is one guest."""

    def __init__(self, keys: tuple[str, ...], limits: Limits) -> None:
        self._guests = {key.encode(): Guest() for key in keys}
        self._anybody = None if keys else Guest()
        self._limits = limits
        self.running = 0

    def guest(self, authorization: str) -> Guest:
        """Who sends a request, by its `Authorization` header."""
        if self._anybody is not None:
            return self._anybody
        kind, _, key = authorization.partition(" ")
        given = key.strip().encode("latin-1", "replace")
        found = [guest for known, guest in self._guests.items() if hmac.compare_digest(known, given)]
        if kind.lower() != "bearer" or not found:
            raise Refusal(
                401, "No valid API key. Send it as `Authorization: Bearer KEY`.", code="invalid_api_key"
            )  # fmt: skip
        return found[0]

    @contextmanager
    def inside(self, guest: Guest) -> Iterator[None]:
        """Hold a place while a request runs; `Refusal` when there is none."""
        limits, most = self._limits, self._limits.tokens_per_minute
        if self.running >= limits.at_once or guest.running >= limits.at_once_per_key:
            raise Refusal(429, "Too many requests at once. Try again soon.", code="rate_limit_exceeded", retry_s=1)
        if most is not None and guest.spent_in_a_minute() >= most:
            raise Refusal(
                429, f"This key has spent its {most} tokens of a minute. Try again later.", code="rate_limit_exceeded",
                retry_s=max(1.0, guest.spent[0][0] + MINUTE - time.monotonic()),
            )  # fmt: skip
        self.running += 1
        guest.running += 1
        try:
            yield
        finally:
            self.running -= 1
            guest.running -= 1


async def read_body(request: Request, kind: type[B], most: int) -> tuple[B, dict[str, Any]]:
    """The body of a request, checked, and as it came.

    Raises:
        Refusal: it is too long, no JSON, or not what the interface says.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "Send JSON, with the header `Content-Type: application/json`.", code="no_json")
    try:
        async with asyncio.timeout(BODY_S):
            data = await _bytes(request, most)
    except TimeoutError:
        raise Refusal(408, f"The body took more than {BODY_S:g} s to come.", code="too_slow") from None
    except ClientDisconnect:
        raise Refusal(400, "The body did not come whole.", code="invalid_json") from None
    try:
        row = json.loads(data, parse_constant=_no_number)
    except RecursionError:
        raise Refusal(400, "The body is nested too deeply.", code="invalid_json") from None
    except ValueError as error:
        raise Refusal(400, f"The body is no JSON: {error}", code="invalid_json") from None
    try:
        return kind.model_validate(row), row
    except ValidationError as error:
        raise _told(error, kind) from None


async def _bytes(request: Request, most: int) -> bytes:
    too_long = Refusal(413, f"The body has more than {most} bytes, which this server does not take.", code="too_large")
    told = request.headers.get("content-length", "")
    if told.isascii() and told.isdigit() and int(told[:20]) > most:
        raise too_long
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > most:
            raise too_long
    return bytes(data)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _told(error: ValidationError, kind: type[Body]) -> Refusal:
    """The first thing that is wrong, in our words."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    param = ".".join(str(part) for part in first["loc"][:3]) or "body"
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        close = difflib.get_close_matches(str(first["loc"][0])[:100], kind.model_fields, n=1)
        hint = f" Did you mean {close[0]}?" if close else " See /openapi.json for those that there are."
        message = f"{param[:100]}: there is no such field.{hint}"
    elif first["type"] == "extra_forbidden":
        message = f"{param}: there is no such field."
    else:
        message = f"{param}: {first['msg']}."
    return Refusal(400, message.encode("utf-8", "replace").decode(), code="invalid_value", param=param[:200])
