"""What a chat route can do, found out by asking it one question."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from satisfice.core.errors import EngineError, Refused
from satisfice.core.profile import Profile
from satisfice.engines.http.family import QUESTION
from satisfice.engines.http.probe import Server, choose_model, list_models, problems_of
from satisfice.engines.http.wire import Address, open_stream

LONGEST = 1024  # tokens of the answer; the stream is closed as soon as it has shown where its thinking stands


@dataclass(frozen=True, kw_only=True)
class ChatFound:
    """A chat route, and how it is spoken to."""

    server: Server
    limit: str  # what it calls the most tokens of an answer
    opened: bool  # answers begin inside thinking: the chat form opens it, and nobody takes it out of the answer


async def find_chat(address: Address, *, model: str | None, budget: str | None, profile: Profile) -> ChatFound:
    """Return what a chat route can do.

    Raises:
        BadInput: nobody answers, the key is not accepted, the model is not known, or the route does not stream.
    """
    async with address.connect() as client:
        with problems_of(address, "chat completions"):
            listed, software = await list_models(address, needed=model is None)
            name, row = choose_model(model, listed, address)
            counts: dict[str, Any] = {"stream_options": {"include_usage": True}}
            refusal: Refused | None = None
            for limit, more in (("max_tokens", counts), ("max_completion_tokens", counts), ("max_tokens", {})):
                asked = [{"role": "user", "content": QUESTION}]
                body = {"model": name, "messages": asked, "temperature": 0.0, limit: LONGEST, **more}
                try:
                    async with open_stream(client, address, body, path="chat/completions") as events:
                        opened = await _begins_inside(events, profile)
                except Refused as error:
                    if error.status not in (400, 422):
                        raise
                    refusal = error
                    continue
                length = row.get("max_model_len") or row.get("context_length")
                server = Server(
                    model=name, software=software, max_length=length if type(length) is int else None,
                    extended=bool(more), ids=False, logprobs=False, top=0, stops=False, budget=budget, cached=False,
                    leaks=None,
                )  # fmt: skip
                return ChatFound(server=server, limit=limit, opened=opened)
            assert refusal is not None
            raise refusal


async def _begins_inside(events: AsyncIterator[dict[str, Any]], profile: Profile) -> bool:
    """Return whether the end of thinking stands in an answer in which nothing has opened it."""
    text, choices = "", 0
    async for event in events:
        for choice in (event.get("choices") or [])[:1]:
            choices += 1
            delta = choice.get("delta") or {}
            if delta.get("reasoning_content") or delta.get("reasoning"):
                return False
            text += delta.get("content") or ""
        if text.lstrip().startswith(profile.think_open):
            return False
        if profile.think_close in text:
            return True
    if not choices:
        raise EngineError("its chat route sends no choices")
    return False
