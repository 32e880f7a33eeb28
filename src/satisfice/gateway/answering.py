"""The answer after thinking that a policy has ended, written by the upstream's own chat route.

So calls of tools, JSON by a schema and log-probabilities are the upstream's. The thinking goes before it as the
beginning of the assistant's message; a marked one shows whether the route keeps it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from satisfice.core.errors import EngineError, SatisficeError
from satisfice.core.ledger import Ledger
from satisfice.core.profile import Profile
from satisfice.engines.http.upstream import HttpUpstream
from satisfice.gateway.generation import Outcome
from satisfice.gateway.passing import ANOTHER, events_of, refused
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.request import GenerationRequest

MARK = "MARKED-THOUGHT-4c1e"
CONTINUE: Mapping[str, Any] = {"continue_final_message": True, "add_generation_prompt": False}


@dataclass
class Written:
    """What the upstream said of its answer."""

    finish: str = "stop"
    tokens: int = 0
    prompt_tokens: int = 0
    reasoning_tokens: int = 0

    def outcome(self, seconds: float) -> Outcome:
        """Return the outcome of a response that the upstream wrote from its beginning, in so many seconds."""
        ledger = Ledger(kept=self.tokens, wall_s=seconds)
        return Outcome(
            finish=self.finish, stopped="model", ledger=ledger, prompt_tokens=self.prompt_tokens,
            reasoning_tokens=self.reasoning_tokens, chains=1, looks=0,
        )  # fmt: skip

    def take(self, usage: Mapping[str, Any]) -> None:
        """Read the upstream's counts."""
        self.tokens = usage.get("completion_tokens") or self.tokens
        self.prompt_tokens = usage.get("prompt_tokens") or self.prompt_tokens
        details = usage.get("completion_tokens_details") or {}
        self.reasoning_tokens = details.get("reasoning_tokens") or self.reasoning_tokens


async def keeps_thinking(server: HttpUpstream, profile: Profile) -> bool:
    """Whether the upstream's chat form keeps thinking that stands at the beginning of the assistant's message."""
    thinking = profile.think_open + profile.after_open + MARK + profile.close_thinking
    messages = [{"role": "user", "content": "1 + 1"}, {"role": "assistant", "content": thinking}]
    try:
        form = await server.form(messages, CONTINUE)
    except SatisficeError:
        return False
    return form is not None and form.rstrip().endswith(thinking.rstrip()) and form.count(MARK) == 1


async def answer(
    request: GenerationRequest,
    server: HttpUpstream,
    thinking: str,
    max_tokens: int,
    written: Written,
    *,
    seconds: float,
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
    async with aclosing(_chat(body, server, written, stream=request.stream, seconds=seconds)) as deltas:
        async for delta in deltas:  # thinking is over, so what the upstream's parser takes for thinking is the answer
            yield Delta("content", delta.text) if delta.kind == "reasoning" else delta


async def relay(
    body: Mapping[str, Any], server: HttpUpstream, written: Written, *, stream: bool, seconds: float
) -> AsyncIterator[Delta]:
    """Yield the whole response of the upstream's chat route, thinking and answer, piece by piece; else as `answer`."""
    async with aclosing(_chat(dict(body), server, written, stream=stream, seconds=seconds)) as deltas:
        async for delta in deltas:
            yield delta


async def _chat(
    body: dict[str, Any], server: HttpUpstream, written: Written, *, stream: bool, seconds: float
) -> AsyncGenerator[Delta]:
    body["stream"] = stream
    body.pop("stream_options", None)
    if stream:
        body["stream_options"] = {"include_usage": True}
    async with server.ask("/v1/chat/completions", body, seconds=seconds) as response:
        if response.status in ANOTHER:
            raise EngineError(f"the upstream answered {response.status}")
        if response.status >= 400:
            raise await refused(response)
        async for row in events_of(response) if stream else _whole(response):
            written.take(row.get("usage") or {})
            for choice in (row.get("choices") or [])[:1]:
                written.finish = choice.get("finish_reason") or written.finish
                said = choice.get("delta") or choice.get("message") or {}
                for delta in _deltas(said, choice.get("logprobs")):
                    written.tokens += int(stream and not row.get("usage"))
                    yield delta


def _deltas(said: Mapping[str, Any], logprobs: Any) -> list[Delta]:
    reasoning = str(said.get("reasoning") or said.get("reasoning_content") or "")
    text = str(said.get("content") or "")
    data: dict[str, Any] = {name: said[name] for name in ("tool_calls", "function_call", "refusal") if said.get(name)}
    if logprobs:
        data["logprobs"] = logprobs
    return [
        *([Delta("reasoning", reasoning)] if reasoning else []),
        *([Delta("content", text)] if text else []),
        *([Delta("data", "", data)] if data else []),
    ]


async def _whole(response: Any) -> AsyncIterator[dict[str, Any]]:
    try:
        row = await response.json(content_type=None)
    except ValueError as error:
        raise EngineError("the upstream answered with something that is no JSON") from error
    if not isinstance(row, dict):
        raise EngineError("the upstream answered with something that is no object")
    yield row
