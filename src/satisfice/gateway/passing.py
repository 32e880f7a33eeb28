"""Requests that an upstream answers itself: copied to it and back, with budgets, counts and limits of time."""

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from satisfice.core.errors import BadInput, EngineError, Refused
from satisfice.engines.http.upstream import HttpUpstream
from satisfice.gateway.fields import treated
from satisfice.gateway.request import GenerationRequest
from satisfice.gateway.response import ResponseWriter
from satisfice.gateway.settings import Limits

ANOTHER = frozenset({502, 503, 504})  # an upstream that says this was not reached by the request
TAIL = 4096  # bytes at the end of a response, where its counts stand


def passed_body(request: GenerationRequest, server: HttpUpstream, limits: Limits) -> dict[str, Any]:
    """The body of a request as the upstream gets it: with its own model's name, and a budget in its spelling.

    Raises:
        BadInput: a field that is not sent on, or more than this server allows.
    """
    check_refused(request.fields)
    if request.choices > limits.chains:
        raise BadInput(f"n may be at most {limits.chains} on this server, got {request.choices}. Lower it.")
    body = {**request.fields, "model": server.model}
    if limits.tokens is not None:
        name = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
        body[name] = min(request.max_tokens or limits.tokens, limits.tokens)
    if request.thinking.tokens is not None:
        body |= server.budget(request.thinking.tokens)
    return body


def check_refused(fields: Mapping[str, Any]) -> None:
    """Refuse what could run code or reach what only the operator may reach."""
    if bad := treated(fields, "refused"):
        raise BadInput(f"{next(iter(bad))}: this server does not take it from requests. Leave it out.")


async def copy(response: Any, writer: ResponseWriter, count: Callable[[int], None]) -> None:
    """Copy an upstream's response to the client. `count` is told the tokens, also when the client leaves early.

    Raises:
        EngineError: the upstream was not reached, so another may be asked.
    """
    if response.status in ANOTHER or writer.started:
        raise EngineError(f"the upstream answered {response.status}")
    if hint := response.headers.get("retry-after"):
        writer.headers["retry-after"] = hint
    await writer.start(response.status, response.headers.get("content-type", "application/json"))
    tail, events = b"", 0
    try:
        async for part in response.content.iter_any():
            await writer.write(part)
            events += part.count(b"data: {")
            tail = (tail + part)[-TAIL:]
        await writer.end()
    finally:
        counts = re.findall(rb'"completion_tokens"\s*:\s*(\d{1,12})', tail)
        count(int(counts[-1]) if counts else events)  # without counts each event of a stream is about one token


async def refused(response: Any) -> Refused:
    """Return an upstream's refusal, in its own words."""
    from satisfice.engines.http.wire import message_of, retry_after

    words = " ".join(message_of(await response.content.read(65_536)).split())[:1000]
    wait_s = retry_after(response.headers.get("retry-after", ""))
    return Refused(f"the upstream answered {response.status}: {words}", response.status, words=words, retry_s=wait_s)


async def events_of(response: Any) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a stream of events."""
    async for line in response.content:
        data = line.strip().removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or data == b"[DONE]":
            continue
        try:
            row = json.loads(data)
        except ValueError as error:
            raise EngineError("the upstream sent an event that is no JSON") from error
        if not isinstance(row, dict) or row.get("error"):
            raise EngineError("the upstream broke off")
        yield row
