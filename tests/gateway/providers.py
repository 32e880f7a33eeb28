"""Servers and providers by name, with the quirks that their documentation and their answers show."""

import asyncio
import contextlib
from typing import Any

from tests.engines.servers import CLOSE, LoopbackServer, _chunk, _event, _reply

THOUGHT, ANSWER = ("so ", "12", "+", "34", "=", "46"), ("The ", "answer ", "is ", "46", ".")


class Provider(LoopbackServer):
    """A chat route that streams thinking and answer, and no other route unless a subclass has it.

    `thoughts` and `answer` are pieces, `fails` is what a stream says in its middle, `refuses` a refusal of everything.
    """

    reasoning = "reasoning_content"  # the field of thinking
    comment = b""  # sent before anything
    rows: tuple[dict[str, Any], ...] = ({"id": "toy", "object": "model"},)
    hides = 0  # tokens of thinking that are billed and not shown

    def __init__(self, *, pause_s: float = 0.0, thoughts: tuple[str, ...] = THOUGHT, **options: Any) -> None:
        super().__init__(pause_s=pause_s, **options)
        self.thoughts, self.answer = thoughts, ANSWER
        self.chats: list[dict[str, Any]] = []
        self.fails: dict[str, Any] | None = None
        self.refuses: tuple[int, dict[str, Any]] | None = None

    async def _route(self, method, path, headers, body, reader, writer):  # type: ignore[no-untyped-def]
        if path == "/v1/models":
            return await _reply(writer, 200, {"object": "list", "data": list(self.rows)})
        if path == "/v1/chat/completions":
            self.chats.append(body)
            if self.refuses is not None:
                return await _reply(writer, *self.refuses)
            if not body.get("stream"):
                return await _reply(writer, 200, self._whole(body))
            return await self._chat(body, reader, writer)
        return await _reply(writer, 404, {"error": {"message": f"no route {path}"}})

    def _pieces(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        thoughts = [{"content": None, self.reasoning: piece} for piece in self.thoughts]
        return [*thoughts, *({"content": piece, self.reasoning: None} for piece in self.answer)]

    def _usage(self, sent: int) -> dict[str, Any]:
        shown = min(sent, len(self.thoughts))
        return {
            "prompt_tokens": 11, "completion_tokens": sent + self.hides + 2, "total_tokens": 13 + sent + self.hides,
            "completion_tokens_details": {"reasoning_tokens": shown + self.hides},
        }  # fmt: skip

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(self.answer), self.reasoning: "".join(self.thoughts)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        sent = len(self.thoughts) + len(self.answer)
        return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": self._usage(sent)}

    async def _chat(self, body: dict[str, Any], reader: Any, writer: Any) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        if self.comment:
            await _chunk(writer, self.comment)
        self.now += 1
        gone = asyncio.create_task(reader.read(1))
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or 1 << 20
        finish, sent = "stop", 0
        try:
            for at, delta in enumerate(self._pieces(body)):
                if gone.done():
                    self.hung_up += 1
                    return False
                if sent >= limit:
                    finish = "length"
                    break
                if self.fails is not None and at == 3:
                    await _event(writer, self.fails)
                    await _chunk(writer, b"")
                    return True
                self.sent, sent = self.sent + 1, sent + 1
                await _event(writer, {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
                await asyncio.sleep(self.pause_s)
        finally:
            self.now -= 1
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await gone
        last: dict[str, Any] = {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": finish}]}
        await _event(writer, last)
        if (body.get("stream_options") or {}).get("include_usage"):
            await _event(writer, {"choices": [], "usage": self._usage(sent)})
        await _chunk(writer, b"data: [DONE]\n\n")
        await _chunk(writer, b"")
        return True


class DeepSeek(Provider):
    """Thinking in `reasoning_content`, comments while a request waits, reasons of its own for an end.

    Source: api-docs.deepseek.com, "Thinking Mode" and "Create Chat Completion".
    """

    comment = b": keep-alive\n\n"
    rows = ({"id": "deepseek-reasoner", "object": "model", "owned_by": "deepseek"},)


class OpenRouter(Provider):
    """Thinking in `reasoning`, comments, many models with their contexts, faults of providers inside a stream.

    Source: openrouter.ai/docs, "Reasoning Tokens", "Streaming" and "Errors".
    """

    reasoning = "reasoning"
    comment = b": OPENROUTER PROCESSING\n\n"
    rows = (
        {"id": "deepseek/deepseek-r1", "context_length": 163_840},
        {"id": "openai/o4-mini", "context_length": 200_000},
    )


class Hiding(Provider):
    """A provider that bills thinking and shows none of it, and calls the limit `max_completion_tokens`, as OpenAI does.

    Source: platform.openai.com/docs, "Reasoning models".
    """

    hides = 40

    def __init__(self, **options: Any) -> None:
        super().__init__(thoughts=(), **options)

    async def _route(self, method, path, headers, body, reader, writer):  # type: ignore[no-untyped-def]
        if path == "/v1/chat/completions" and "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens' is not supported with this model."
            return await _reply(writer, 400, {"error": {"message": said, "param": "max_tokens"}})
        return await super()._route(method, path, headers, body, reader, writer)


class Ollama(Provider):
    """Thinking in `reasoning`; its `/v1/completions` puts the prompt into the model's template.

    Source: github.com/ollama/ollama, docs "OpenAI compatibility" and `openai/openai.go`.
    """

    reasoning = "reasoning"

    async def _route(self, method, path, headers, body, reader, writer):  # type: ignore[no-untyped-def]
        if path == "/v1/completions":
            self.wraps = self.extended = True
            return await self._complete(body, reader, writer)
        return await super()._route(method, path, headers, body, reader, writer)


class Inline(Provider):
    """A server whose chat route leaves the tags in the answer: llama-server with `--reasoning-format none`."""

    def _pieces(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"content": piece} for piece in ("<th", "ink>", *self.thoughts, CLOSE + "\n\n", *self.answer)]


class Opened(Provider):
    """A server without a parser of thinking, whose chat form opens it: only the end is seen (`transformers serve`)."""

    def _pieces(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"content": piece} for piece in (*self.thoughts, CLOSE + "\n\n", *self.answer)]


OVERFLOWS: dict[str, tuple[int, dict[str, Any]]] = {
    "vllm": (400, {"error": {"message": "This model's maximum context length is 4096 tokens. However, you requested "
                             "5000 tokens in the messages. Please reduce the length.", "code": 400}}),
    "sglang": (400, {"object": "error", "message": "The input (5000 tokens) is longer than the model's context length "
                     "(4096 tokens).", "type": "BadRequestError", "code": 400}),
    "llama-server": (400, {"error": {"code": 400, "message": "request (5000 tokens) exceeds the available context size "
                                     "(4096 tokens), try increasing it", "type": "exceed_context_size_error"}}),
    "deepseek": (400, {"error": {"message": "This model's maximum context length is 131072 tokens. However, you "
                                 "requested 200000 tokens", "code": "invalid_request_error"}}),
    "openrouter": (400, {"error": {"code": 400, "message": "This endpoint's maximum context length is 163840 tokens. "
                                   "However, you requested about 200000 tokens."}}),
    "openai": (400, {"error": {"message": "Input tokens exceed the configured limit of 272000 tokens.",
                               "code": "context_length_exceeded"}}),
}  # fmt: skip
"""How each says that a prompt is longer than its context."""
