"""The answer after thinking that a policy has ended, written by the upstream's own chat route.

So calls of tools, JSON by a schema and log-probabilities are the upstream's. The thinking goes before it as the
beginning of the assistant's message; a marked one shows whether the route keeps it.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from satisfice.core.errors import EngineError, SatisficeError
from satisfice.core.profile import Profile
from satisfice.gateway.passing import events_of, refused
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.request import GenerationRequest
from satisfice.gateway.upstream import Remote

MARK = "MARKED-THOUGHT-4c1e"
CONTINUE: Mapping[str, Any] = {"continue_final_message": True, "add_generation_prompt": False}


@dataclass
class Written:
    """What the upstream said of its answer."""

    finish: str = "stop"
    tokens: int = 0


async def keeps_thinking(server: Remote, profile: Profile) -> bool:
    """Whether the upstream's chat form keeps thinking that stands at the beginning of the assistant's message."""
    thinking = profile.think_open + profile.after_open + MARK + profile.close_thinking
    messages = [{"role": "user", "content": "1 + 1"}, {"role": "assistant", "content": thinking}]
    try:
        form = await server.form(messages, CONTINUE)
    except SatisficeError:
        return False
    return form is not None and form.rstrip().endswith(thinking.rstrip()) and form.count(MARK) == 1


async def answer(
    request: GenerationRequest, server: Remote, thinking: str, max_tokens: int, written: Written, *, seconds: float
) -> AsyncIterator[Delta]:
    """The answer, piece by piece; `written` holds what the upstream said of it.

    Raises:
        Refused: the upstream does not take the request.
        EngineError: it failed.
    """
    dropped = ("n", "max_completion_tokens", "stream_options", "request_id")
    body = {name: value for name, value in request.fields.items() if name not in dropped}
    body |= {
        **CONTINUE, "model": server.model, "max_tokens": max(1, max_tokens), "stream": request.stream,
        "messages": [*request.messages, {"role": "assistant", "content": thinking}],
    }  # fmt: skip
    if request.stream:
        body["stream_options"] = {"include_usage": True}
    async with server.ask("/v1/chat/completions", body, seconds=seconds) as response:
        if response.status >= 400:
            raise await refused(response)
        rows = events_of(response) if request.stream else _whole(response)
        async for row in rows:
            written.tokens = (row.get("usage") or {}).get("completion_tokens") or written.tokens
            for choice in (row.get("choices") or [])[:1]:
                written.finish = choice.get("finish_reason") or written.finish
                said = choice.get("delta") or choice.get("message") or {}
                for delta in _deltas(said, choice.get("logprobs")):
                    written.tokens += int(request.stream and not row.get("usage"))
                    yield delta


def _deltas(said: Mapping[str, Any], logprobs: Any) -> list[Delta]:
    # Thinking is over, so text that the upstream's parser takes for thinking is the answer.
    text = "".join(str(said.get(name) or "") for name in ("reasoning", "reasoning_content", "content")
                   if name != "reasoning_content" or not said.get("reasoning"))  # fmt: skip
    data: dict[str, Any] = {name: said[name] for name in ("tool_calls", "function_call", "refusal") if said.get(name)}
    if logprobs:
        data["logprobs"] = logprobs
    return [*([Delta("content", text)] if text else []), *([Delta("data", "", data)] if data else [])]


async def _whole(response: Any) -> AsyncIterator[dict[str, Any]]:
    try:
        row = await response.json(content_type=None)
    except ValueError as error:
        raise EngineError("the upstream answered with something that is no JSON") from error
    if not isinstance(row, dict):
        raise EngineError("the upstream answered with something that is no object")
    yield row
