"""OpenAI's Responses: a request in, a response or its events out; pure. Nothing is stored.

Requests are translated into OpenAI's chat form.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from satisfice.core.errors import BadInput
from satisfice.gateway import translation
from satisfice.gateway.events import COMMENT, named_event
from satisfice.gateway.failures import Failure
from satisfice.gateway.generation import Outcome
from satisfice.gateway.reading import checked
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.request import GenerationRequest
from satisfice.gateway.responses_body import Format, Item, Part, ResponsesBody, Tool
from satisfice.gateway.translation import Call, Gathered

PREFIX = "resp_"
UNUSED = (
    "store", "include", "truncation", "stream_options", "metadata", "user", "service_tier", "safety_identifier",
    "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "max_tool_calls", "context_management",
    "background",
)  # fmt: skip
"""Fields that say nothing to the model, or that the encoder reads."""
REFUSED = {
    "previous_response_id": "this server stores no responses. Send the conversation so far in input",
    "conversation": "this server stores no conversations. Send the conversation so far in input",
    "prompt": "this server stores no prompts. Send its text in instructions or input",
    "background": "this server stores no responses to be fetched later. Use stream in its place",
    "moderation": "this server has no model for it. Leave it out",
}
THOUGHT = "satisfice:"  # what `encrypted_content` begins with; the thinking follows in base64
NAMES = {"response_format": "text.format", "logprobs": "include", "messages": "input"}
CHOICES = ("auto", "none", "required")


def read_responses(row: dict[str, Any]) -> GenerationRequest:
    """Return the request of a body of `/v1/responses`.

    Raises:
        RequestRefused, BadInput: a field is wrong, asks for what is not here, or contradicts another.
    """
    body = checked(ResponsesBody, row)
    for name, why in REFUSED.items():
        if row.get(name):
            raise BadInput(f"{name}: {why}.")
    messages = [{"role": "system", "content": body.instructions}] if body.instructions else []
    messages += [{"role": "user", "content": body.input}] if isinstance(body.input, str) else _messages(body.input)
    if not messages:
        raise BadInput("input: holds no message. Send what the model is asked.")
    ours = {
        "input", "instructions", "max_output_tokens", "reasoning", "tools", "tool_choice", "parallel_tool_calls",
        "text", "top_logprobs", *UNUSED, *REFUSED,
    }  # fmt: skip
    rest = {name: value for name, value in row.items() if name not in ours}
    made: dict[str, Any] = {"messages": messages, "max_tokens": body.max_output_tokens}
    if body.reasoning is not None:
        known = {name: getattr(body.reasoning, name) for name in ("max_tokens", "enabled", "exclude")}
        made["reasoning"] = {name: value for name, value in known.items() if value is not None} or None
        made["reasoning_effort"] = body.reasoning.effort
    if body.tools:
        made["tools"] = [_tool(tool) for tool in body.tools]
        made["parallel_tool_calls"] = body.parallel_tool_calls
    if body.tool_choice is not None:
        made["tool_choice"] = _choice(body.tool_choice)
    if body.text is not None and body.text.format is not None:
        made["response_format"] = _format(body.text.format)
    if body.top_logprobs or "message.output_text.logprobs" in (body.include or ()):
        made |= {"logprobs": True, "top_logprobs": body.top_logprobs}
    return translation.chat_request(made, rest, row, NAMES)


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.type != "function" or tool.name is None:
        raise BadInput(
            f"tools: {tool.type[:50]!r} is a tool that OpenAI's own servers run. Give functions with a name."
        )
    return translation.function_tool(tool.name, tool.description, tool.parameters, tool.strict)


def _choice(asked: str | Mapping[str, Any]) -> Any:
    if isinstance(asked, str) and asked in CHOICES:
        return asked
    if isinstance(asked, Mapping) and asked.get("type") == "function" and isinstance(asked.get("name"), str):
        return {"type": "function", "function": {"name": asked["name"]}}
    raise BadInput(f"tool_choice: must be one of {', '.join(CHOICES)}, or name a function.")


def _format(asked: Format) -> dict[str, Any] | None:
    if asked.type == "json_schema":
        if asked.schema_ is None:
            raise BadInput("text.format.schema: is required for json_schema.")
        more = {} if asked.strict is None else {"strict": asked.strict}
        return translation.json_schema(asked.schema_, asked.name or "answer", **more)
    return None if asked.type == "text" else {"type": "json_object"}


def _messages(items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return items as messages: reasoning and calls belong to the assistant's message beside them."""
    made: list[dict[str, Any]] = []
    thinking = ""
    for at, item in enumerate(items):
        place, kind = f"input.{at}", item.type or "message"
        if kind == "reasoning":
            thinking += _thinking(item)
        elif kind == "message" and item.role is not None:
            row = {"role": item.role, "content": _content(item.content, place)}
            made.append(_thought(row, thinking) if item.role == "assistant" else row)
            thinking = ""
        elif kind == "function_call" and item.call_id and item.name:
            if thinking or not made or made[-1]["role"] != "assistant":
                made.append(_thought({"role": "assistant", "content": None}, thinking))
                thinking = ""
            function = {"name": item.name, "arguments": item.arguments or "{}"}
            made[-1].setdefault("tool_calls", []).append({"id": item.call_id, "type": "function", "function": function})
        elif kind == "function_call_output" and item.call_id:
            made.append({"role": "tool", "tool_call_id": item.call_id, "content": _content(item.output, place)})
        else:
            raise BadInput(f"{place}: an item of type {kind[:50]!r} like this cannot be read here.")
    return made


def _thought(row: dict[str, Any], thinking: str) -> dict[str, Any]:
    return {**row, "reasoning_content": thinking} if thinking else row


def _thinking(item: Item) -> str:
    """Return the thinking of an item; of content, its copy and summaries the first that there is."""
    parts = item.content if isinstance(item.content, list) else []
    if text := "".join(part.text or "" for part in parts):
        return text
    if (copy := item.encrypted_content or "").startswith(THOUGHT):
        try:
            return base64.b64decode(copy.removeprefix(THOUGHT), validate=True).decode()
        except ValueError:
            raise BadInput("input: encrypted_content was changed on its way. Send it as it came.") from None
    return "".join(part.text or "" for part in item.summary or ())


def _content(content: str | Sequence[Part] | None, place: str) -> Any:
    if content is None or isinstance(content, str):
        return content or ""
    parts = []
    for part in content:
        if part.type in ("input_text", "output_text", "text", "refusal"):
            parts.append({"type": "text", "text": part.text or part.refusal or ""})
        elif part.type == "input_image" and part.image_url:
            parts.append(translation.image(part.image_url))
        else:
            raise BadInput(
                f"{place}.content: a part of type {part.type[:50]!r} like this cannot be read here. Send text."
            )
    return translation.content_of_parts(parts) if parts else ""


@dataclass(kw_only=True)
class Encoder:
    """Writes one response: as events, or whole, which is the object in the last event."""

    id: str
    model: str
    created: int  # seconds since 1970
    body: Mapping[str, Any]  # of the request
    hide_reasoning: bool = False
    _gathered: Gathered = field(default_factory=Gathered)
    _output: list[dict[str, Any]] = field(default_factory=list)  # items that have ended
    _open: str = ""  # type of the item that has begun
    _pieces: list[str] = field(default_factory=list)  # of its text
    _number: int = 0  # of the next event

    def chunk(self, deltas: Sequence[Delta], *, index: int = 0, first: bool = False) -> bytes:
        """Return events for new text; nothing when there is nothing to say."""
        begin: list[dict[str, Any]] = []
        if first:
            response = self._response("in_progress")
            begin = [{"type": f"response.{kind}", "response": response} for kind in ("created", "in_progress")]
        return self._written([*begin, *self._events(deltas)])

    def last_chunk(self, outcome: Outcome, index: int, about: Mapping[str, Any] | None) -> bytes:
        """Return events for calls of functions, and the response as it became."""
        rows = [*self._close(), *self._calls()]
        response = self._ended(outcome, about)
        return self._written([*rows, {"type": f"response.{response['status']}", "response": response}])

    def end(self, outcomes: Sequence[Outcome]) -> bytes:
        """Return nothing: the last event holds the response."""
        return b""

    def whole(
        self, deltas: Sequence[Sequence[Delta]], outcomes: Sequence[Outcome], about: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the response as one object."""
        for _ in [*self._events(deltas[0]), *self._close(), *self._calls()]:
            pass
        return self._ended(outcomes[0], about)

    def error_event(self, failure: Failure) -> bytes:
        """Return the event that says what went wrong in the middle of a stream."""
        if not self._number:
            row = {"type": "error", "code": failure.code, "message": failure.message, "param": failure.param}
            return self._written([row])
        code = "server_error" if failure.status >= 500 else "invalid_prompt"
        error = {"code": "rate_limit_exceeded" if failure.status == 429 else code, "message": failure.message}
        return self._written([{"type": "response.failed", "response": {**self._response("failed"), "error": error}}])

    def keep_alive(self) -> bytes:
        """Return what is sent while there is nothing to say."""
        return COMMENT

    def _written(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        data = b""
        for row in rows:
            data += named_event({**row, "sequence_number": self._number})
            self._number += 1
        return data

    def _events(self, deltas: Sequence[Delta]) -> Iterator[dict[str, Any]]:
        for kind, new, _ in self._gathered.take(deltas):
            if kind == "reasoning" and self.hide_reasoning:
                continue
            name = "message" if kind == "content" else "reasoning"
            if self._open != name:
                yield from self._close()
                yield from self._begin(name)
            self._pieces.append(new)
            more: dict[str, Any] = {"logprobs": []} if name == "message" else {}
            yield {"type": f"response.{TEXTS[name]}.delta", **self._place(), "delta": new, **more}

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item_id(), "output_index": len(self._output), "content_index": 0}

    def _item_id(self) -> str:
        return f"{ITEMS[self._open]}_{len(self._output)}_{self.id.removeprefix(PREFIX)}"

    def _begin(self, name: str) -> Iterator[dict[str, Any]]:
        self._open, self._pieces = name, []
        item = {**self._item("in_progress", ""), "content": []}
        yield {"type": "response.output_item.added", "output_index": len(self._output), "item": item}
        yield {"type": "response.content_part.added", **self._place(), "part": self._part("")}

    def _close(self) -> Iterator[dict[str, Any]]:
        if not self._open:
            return
        text, name = "".join(self._pieces), self._open
        item = self._item("completed", text)
        more: dict[str, Any] = {"logprobs": item["content"][0].get("logprobs", [])} if name == "message" else {}
        yield {"type": f"response.{TEXTS[name]}.done", **self._place(), "text": text, **more}
        yield {"type": "response.content_part.done", **self._place(), "part": item["content"][0]}
        yield self._done(item)

    def _done(self, item: dict[str, Any]) -> dict[str, Any]:
        self._output.append(item)
        self._open = ""
        return {"type": "response.output_item.done", "output_index": len(self._output) - 1, "item": item}

    def _item(self, status: str, text: str) -> dict[str, Any]:
        row = {"id": self._item_id(), "type": self._open, "status": status, "content": [self._part(text)]}
        if self._open == "message":
            return {**row, "role": "assistant"}
        row["summary"] = []
        if "reasoning.encrypted_content" in (self.body.get("include") or ()):
            row["encrypted_content"] = THOUGHT + base64.b64encode(text.encode()).decode()
        return row

    def _part(self, text: str) -> dict[str, Any]:
        if self._open == "reasoning":
            return {"type": "reasoning_text", "text": text}
        logprobs = [_logprob(row) for row in self._gathered.logprobs]
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs if text else []}

    def _calls(self) -> Iterator[dict[str, Any]]:
        for call in self._gathered.calls:
            self._open = "function_call"
            item = self._call(call)
            place = {"item_id": item["id"], "output_index": len(self._output)}
            begun = {**item, "arguments": "", "status": "in_progress"}
            yield {"type": "response.output_item.added", "output_index": len(self._output), "item": begun}
            kind = "response.function_call_arguments"
            yield {"type": f"{kind}.delta", **place, "delta": item["arguments"]}
            yield {"type": f"{kind}.done", **place, "arguments": item["arguments"], "name": call.name}
            yield self._done(item)

    def _call(self, call: Call) -> dict[str, Any]:
        return {
            "id": self._item_id(), "type": "function_call", "status": "completed", "name": call.name,
            "call_id": call.id or f"call_{len(self._output)}_{self.id.removeprefix(PREFIX)}",
            "arguments": call.arguments or "{}",
        }  # fmt: skip

    def _response(self, status: str) -> dict[str, Any]:
        asked = self.body
        reasoning = asked.get("reasoning") or {}
        return {
            "id": self.id, "object": "response", "created_at": self.created, "model": self.model, "status": status,
            "error": None, "incomplete_details": None, "output": list(self._output), "usage": None,
            "background": False, "store": False, "previous_response_id": None, "truncation": "disabled",
            "parallel_tool_calls": asked.get("parallel_tool_calls") is not False,
            "tool_choice": asked.get("tool_choice") or "auto", "tools": asked.get("tools") or [],
            "text": asked.get("text") or {"format": {"type": "text"}}, "metadata": asked.get("metadata") or {},
            "reasoning": {"effort": reasoning.get("effort"), "summary": None},
            **{name: asked.get(name) for name in ("instructions", "max_output_tokens", "temperature", "top_p", "user")},
        }  # fmt: skip

    def _ended(self, outcome: Outcome, about: Mapping[str, Any] | None) -> dict[str, Any]:
        cut = outcome.finish == "length"
        if cut and self._output and self._output[-1]["type"] == "message":
            self._output[-1] = {**self._output[-1], "status": "incomplete"}
        usage = {
            "input_tokens": outcome.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": outcome.spent, "output_tokens_details": {"reasoning_tokens": outcome.reasoning_tokens},
            "total_tokens": outcome.prompt_tokens + outcome.spent,
        }  # fmt: skip
        return {
            **self._response("incomplete" if cut else "completed"), "usage": usage,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            **({} if about is None else {"satisfice": about}),
        }  # fmt: skip


TEXTS = {"message": "output_text", "reasoning": "reasoning_text"}
ITEMS = {"message": "msg", "reasoning": "rs", "function_call": "fc"}


def _logprob(row: Mapping[str, Any]) -> dict[str, Any]:
    inner = [{**other, "bytes": other.get("bytes") or []} for other in row.get("top_logprobs") or ()]
    return {**row, "bytes": row.get("bytes") or [], "top_logprobs": inner}


def encoder(request: GenerationRequest, *, response_id: str, created: int, model: str, reasoning: object) -> Encoder:
    """Return the encoder of one response."""
    return Encoder(
        id=response_id, created=created, model=model, body=request.original, hide_reasoning=request.hide_reasoning
    )  # fmt: skip


ANSWER: Mapping[str, Any] = {
    "type": "object",
    "required": ["id", "object", "created_at", "model", "status", "output", "usage"],
    "properties": {
        "object": {"const": "response"}, "status": {"enum": ["completed", "incomplete"]},
        "output": {"type": "array", "items": {"type": "object", "required": ["type", "id"]}},
        "usage": {"type": "object", "required": ["input_tokens", "output_tokens", "total_tokens"]},
    },
}  # fmt: skip
