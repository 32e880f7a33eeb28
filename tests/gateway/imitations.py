"""Upstreams with the quirks of real servers: chat routes with tools, refusals in their own words, full contexts."""

import asyncio
import json
from typing import Any

from tests.engines.servers import CLOSE, OPEN, LoopbackServer, _chunk, _event, _reply


class Imitation(LoopbackServer):
    """A loopback server with a chat route, and templates that can be looked at.

    `context` is how many tokens (as it counts them) prompt and answer may have: a longer prompt is refused with
    `overflow`, a longer answer is cut with `length`. `keeps` says whether its chat form keeps thinking in front of the
    answer. With `parses` its parser of reasoning takes an answer for thinking that has not ended. `refuses` is a
    refusal of every completion while it is set: status, body, headers.
    """

    def __init__(
        self, *args: Any, context: int | None = None, keeps: bool = True, parses: bool = False, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.context, self.keeps, self.parses = context, keeps, parses
        self.refuses: tuple[int, dict[str, Any], dict[str, str]] | None = None
        self.chats: list[dict[str, Any]] = []  # bodies of chat completions
        self.forms: list[dict[str, Any]] = []  # bodies of requests for the chat form
        self.others: list[tuple[str, dict[str, Any]]] = []  # paths and bodies of everything else
        self.overflow = {"error": {"message": "the request exceeds the available context size, try increasing it"}}
        self.models_status = 200

    async def _route(self, method, path, headers, body, reader, writer):  # type: ignore[no-untyped-def]
        if path == "/v1/models" and self.models_status != 200:
            return await _reply(writer, self.models_status, {"detail": "starting"})
        if path == "/apply-template":
            self.forms.append(body)
            return await _reply(writer, 200, {"prompt": self._form(body)})
        if path in ("/v1/completions", "/v1/chat/completions") and self.refuses is not None:
            return await _reply(writer, *self.refuses)
        if path == "/v1/completions" and self.context is not None:
            used = len(self._tokens(body["prompt"]))
            if used >= self.context:
                return await _reply(writer, 400, self.overflow)
            body = {**body, "max_tokens": min(body["max_tokens"], self.context - used)}
        if path == "/v1/chat/completions":
            self.chats.append(body)
            return await self._chat(body, writer)
        if path not in ("/v1/models", "/v1/completions"):
            self.others.append((path, body))
            if path in ("/v1/embeddings", "/tokenize", "/v1/rerank"):
                return await _reply(writer, 200, {"path": path, "model": body.get("model")})
        return await super()._route(method, path, headers, body, reader, writer)

    def _form(self, body: dict[str, Any]) -> str:
        text = "".join(f"<|{m['role']}|>{_joined(m['content'])}" for m in body["messages"])
        if not body.get("continue_final_message"):
            arguments = body.get("chat_template_kwargs") or {}
            closed = f"\n\n{CLOSE}\n\n" if arguments.get("enable_thinking") is False else ""
            return text + "<|assistant|>" + OPEN + closed
        return text if self.keeps else text.replace(OPEN, "").split("MARKED")[0]

    async def _chat(self, body: dict[str, Any], writer: Any) -> bool:
        if body.get("tools"):
            call = {
                "index": 0,
                "id": "call_1",
                "type": "function",
                "function": {"name": "add", "arguments": '{"a":12}'},
            }
            said: dict[str, Any] = {"tool_calls": [call]}
        else:
            name = "reasoning_content" if self.parses else "content"
            said = {name: '{"answer": 46}' if body.get("response_format") else "46"}
        finish = "tool_calls" if body.get("tools") else "stop"
        usage = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
        if not body.get("stream"):
            message = {"role": "assistant", "content": None, **said}
            choices = [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}]
            return await _reply(
                writer, 200, {"id": "up", "object": "chat.completion", "choices": choices, "usage": usage}
            )
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await _event(writer, {"choices": [{"index": 0, "delta": said, "finish_reason": None}]})
        await asyncio.sleep(self.pause_s)
        await _event(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            await _event(writer, {"choices": [], "usage": usage})
        await _chunk(writer, b"data: [DONE]\n\n")
        await _chunk(writer, b"")
        return True


def _joined(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content)
