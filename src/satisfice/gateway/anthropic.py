"""Anthropic's Messages: a request in, a message or its events out; pure.

Requests are translated into OpenAI's chat form. Blocks that a model in this place cannot read are refused.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from satisfice.core.errors import BadInput
from satisfice.gateway import translation
from satisfice.gateway.body import Effort, Row, Switch, Text, Thinking, Tokens, Wish
from satisfice.gateway.events import named_event
from satisfice.gateway.failures import Failure
from satisfice.gateway.generation import Outcome
from satisfice.gateway.reading import checked
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.request import GenerationRequest
from satisfice.gateway.translation import Gathered

UNUSED = ("metadata", "service_tier", "cache_control", "inference_geo", "speed", "context_management", "diagnostics")
"""Fields that say nothing to the model."""
REFUSED = {"container": "runs code", "mcp_servers": "calls other servers"}
PREFIX = "msg_"  # of the ids of messages
NAMES = {"response_format": "output_config.format", "messages": "messages"}
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip


class Block(Row):
    """A piece of a message: text, thinking, an image, the use of a tool or its result."""

    type: Text
    text: Text | None = None
    thinking: Text | None = None
    source: dict[str, Any] | None = None
    id: Text | None = None
    name: Text | None = None
    input: dict[str, Any] | None = None
    tool_use_id: Text | None = None
    content: Any = None


class Turn(Row):
    """One message."""

    role: Literal["user", "assistant", "system"]
    content: Text | Annotated[list[Block], Field(max_length=1000)]


class Tool(Row):
    """A tool that the model may use."""

    type: Text | None = None
    name: Text
    description: Text | None = None
    input_schema: dict[str, Any] | None = None


class ToolChoice(Row):
    """Whether a tool must be used, and which."""

    type: Literal["auto", "any", "tool", "none"]
    name: Text | None = None
    disable_parallel_tool_use: Switch = None


class OutputFormat(Row):
    """JSON by a schema."""

    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(Row):
    """How much thinking, and the form of the answer."""

    effort: Effort | None = None
    format: OutputFormat | None = None


class Display(Thinking):
    """How much thinking, and whether it is shown."""

    display: Literal["summarized", "omitted"] | None = None


class CountBody(Row):
    """The body of `/v1/messages/count_tokens`."""

    model: Text | None = None
    messages: Annotated[list[Turn], Field(min_length=1, max_length=10_000)]
    system: Text | Annotated[list[Block], Field(max_length=1000)] | None = None
    thinking: Display | None = None
    tools: Annotated[list[Tool], Field(max_length=1000)] | None = None
    tool_choice: ToolChoice | None = None
    output_config: OutputConfig | None = None


class MessagesBody(CountBody):
    """The body of `/v1/messages`."""

    max_tokens: Tokens
    stream: Switch = None
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    stop_sequences: (
        Annotated[list[Annotated[Text, Field(min_length=1, max_length=1000)]], Field(max_length=16)] | None
    ) = None
    satisfice: Wish | None = None


def read_messages(row: dict[str, Any]) -> GenerationRequest:
    """Return the request of a body of `/v1/messages`.

    Raises:
        RequestRefused, BadInput: a field is wrong, asks for what is not here, or contradicts another.
    """
    body = checked(MessagesBody, row)
    request = _read(body, row, {"stop": body.stop_sequences or None})
    shown = body.thinking is not None and body.thinking.type in ("enabled", "adaptive")
    return replace(request, hide_reasoning=not shown)


def read_count(row: dict[str, Any]) -> GenerationRequest:
    """Return the request of a body of `/v1/messages/count_tokens`; else as `read_messages`."""
    return _read(checked(CountBody, row), row, {})


def _read(body: CountBody, row: Mapping[str, Any], more: Mapping[str, Any]) -> GenerationRequest:
    for name, why in REFUSED.items():
        if row.get(name):
            raise BadInput(f"{name}: {why}, which this server does not do for requests. Leave it out.")
    messages = list(_messages(body))
    translation.check_last(messages)
    ours = {"messages", "system", "tools", "tool_choice", "stop_sequences", "output_config", *UNUSED, *REFUSED}
    rest = {name: value for name, value in row.items() if name not in ours}
    made: dict[str, Any] = {"messages": messages, **more}
    if body.tools:
        made["tools"] = [_tool(tool) for tool in body.tools]
    if (choice := body.tool_choice) is not None:
        named = {"type": "function", "function": {"name": choice.name}}
        made["tool_choice"] = named if choice.type == "tool" else CHOICES[choice.type]
        made["parallel_tool_calls"] = False if choice.disable_parallel_tool_use else None
    if (config := body.output_config) is not None:
        made["reasoning_effort"] = config.effort
        made["response_format"] = None if config.format is None else translation.json_schema(config.format.schema_)
    return translation.chat_request(made, rest, row, NAMES)


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.type not in (None, "custom"):
        raise BadInput(
            f"tools: {tool.type!r} is a tool that Anthropic's own servers run. Give tools with input_schema."
        )
    return translation.function_tool(tool.name, tool.description, tool.input_schema)


def _messages(body: CountBody) -> Iterator[dict[str, Any]]:
    if body.system:
        system = body.system
        yield {"role": "system", "content": system if isinstance(system, str) else _content(system, "system")}
    for at, turn in enumerate(body.messages):
        place = f"messages.{at}.content"
        if isinstance(turn.content, str):
            yield {"role": turn.role, "content": turn.content}
        elif turn.role == "assistant":
            yield _assistant(turn.content, place)
        else:
            yield from _user(turn.role, turn.content, place)


def _assistant(blocks: Sequence[Block], place: str) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": None}
    parts = [block for block in blocks if block.type not in ("thinking", "redacted_thinking", "tool_use")]
    if parts:
        said["content"] = _content(parts, place)
    if thinking := "".join(block.thinking or "" for block in blocks if block.type == "thinking"):
        said["reasoning_content"] = thinking
    if uses := [block for block in blocks if block.type == "tool_use"]:
        said["tool_calls"] = [_use(block, place) for block in uses]
    elif said["content"] is None:
        said["content"] = ""
    return said


def _use(block: Block, place: str) -> dict[str, Any]:
    if not block.id or not block.name:
        raise BadInput(f"{place}: a tool_use needs an id and a name. Send the block as it came.")
    function = {"name": block.name, "arguments": json.dumps(block.input or {})}
    return {"id": block.id, "type": "function", "function": function}


def _user(role: str, blocks: Sequence[Block], place: str) -> Iterator[dict[str, Any]]:
    """Yield the results of tools, each as a message of its own, and what the user says in one."""
    rest = [block for block in blocks if block.type != "tool_result"]
    for block in blocks:
        if block.type == "tool_result":
            if not block.tool_use_id:
                raise BadInput(f"{place}: a tool_result needs the tool_use_id that it answers.")
            yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": _result(block.content, place)}
    if rest or not blocks:
        yield {"role": role, "content": _content(rest, place)}


def _result(content: Any, place: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        raise BadInput(f"{place}: the result of a tool may hold text alone on this server. Send its text.")
    return "\n".join(part["text"] for part in parts)


def _content(blocks: Sequence[Block], place: str) -> Any:
    parts = []
    for block in blocks:
        source = block.source or {}
        if block.type == "text":
            parts.append({"type": "text", "text": block.text or ""})
        elif block.type == "image" and source.get("type") == "base64":
            parts.append(translation.image(f"data:{source.get('media_type')};base64,{source.get('data')}"))
        elif block.type == "image" and source.get("type") == "url":
            parts.append(translation.image(str(source.get("url"))))
        else:
            raise BadInput(f"{place}: a block of type {block.type[:50]!r} cannot be read here. Send text.")
    return translation.content_of_parts(parts) if parts else ""


@dataclass(kw_only=True)
class Encoder:
    """Writes one message: as events, or whole, which is what the events add up to."""

    id: str
    model: str
    display: Literal["shown", "omitted", "hidden"]  # of the thinking
    _gathered: Gathered = field(default_factory=Gathered)
    _count: int = 0  # blocks that were begun
    _open: str = ""  # type of the block that has begun and not ended
    _digest: Any = None  # of the thinking in it

    def chunk(self, deltas: Sequence[Delta], *, index: int = 0, first: bool = False) -> bytes:
        """Return events for new text; nothing when there is nothing to say."""
        begin = [self._start()] if first else []
        return b"".join(named_event(row) for row in [*begin, *self._events(deltas)])

    def last_chunk(self, outcome: Outcome, index: int, about: Mapping[str, Any] | None) -> bytes:
        """Return events for the uses of tools and why the message ended, with the counts."""
        rows = [*self._close(), *self._uses(), self._ending(outcome, about)]
        return b"".join(named_event(row) for row in rows)

    def end(self, outcomes: Sequence[Outcome]) -> bytes:
        """Return the event that ends a stream."""
        return named_event({"type": "message_stop"})

    def whole(
        self, deltas: Sequence[Sequence[Delta]], outcomes: Sequence[Outcome], about: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the message as one object."""
        message: dict[str, Any] = self._start()["message"]
        rows = [*self._events(deltas[0]), *self._close(), *self._uses()]
        ending = self._ending(outcomes[0], None)
        return {**message, "content": _added_up(rows), **ending["delta"], "usage": ending["usage"], "satisfice": about}

    def error_event(self, failure: Failure) -> bytes:
        """Return the event that says what went wrong in the middle of a stream."""
        return named_event(error_of(failure))

    def keep_alive(self) -> bytes:
        """Return what is sent while there is nothing to say."""
        return named_event({"type": "ping"})

    def _start(self) -> dict[str, Any]:
        usage = {"input_tokens": 0, "output_tokens": 0}  # the true counts are in the last events
        message: dict[str, Any] = {
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": usage,
        }  # fmt: skip
        return {"type": "message_start", "message": message}

    def _events(self, deltas: Sequence[Delta]) -> Iterator[dict[str, Any]]:
        for kind, new, _ in self._gathered.take(deltas):
            if kind == "content":
                yield from self._begin("text", {"text": ""})
                yield self._delta("text_delta", text=new)
            elif self.display != "hidden":
                yield from self._begin("thinking", {"thinking": "", "signature": ""})
                self._digest.update(new.encode())
                if self.display == "shown":
                    yield self._delta("thinking_delta", thinking=new)

    def _begin(self, kind: str, fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if self._open == kind:
            return
        yield from self._close()
        self._open, self._digest = kind, hashlib.blake2b(self.model.encode(), digest_size=24)
        self._count += 1
        yield {"type": "content_block_start", "index": self._count - 1, "content_block": {"type": kind, **fields}}

    def _close(self) -> Iterator[dict[str, Any]]:
        if self._open == "thinking":
            yield self._delta("signature_delta", signature=self._digest.hexdigest())
        if self._open:
            yield {"type": "content_block_stop", "index": self._count - 1}
        self._open = ""

    def _delta(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._count - 1, "delta": {"type": kind, **fields}}

    def _uses(self) -> Iterator[dict[str, Any]]:
        for at, call in enumerate(self._gathered.calls):
            name = call.id or f"toolu_{self.id.removeprefix(PREFIX)}_{at}"
            yield from self._begin("tool_use", {"id": name, "name": call.name, "input": {}})
            yield self._delta("input_json_delta", partial_json=json.dumps(call.values))
            yield from self._close()

    def _ending(self, outcome: Outcome, about: Mapping[str, Any] | None) -> dict[str, Any]:
        reason = "tool_use" if self._gathered.found else {"length": "max_tokens"}.get(outcome.finish, "end_turn")
        stopped = reason == "end_turn" and bool(outcome.stop_text)
        usage = {
            "input_tokens": outcome.prompt_tokens, "output_tokens": outcome.spent,
            "output_tokens_details": {"thinking_tokens": outcome.reasoning_tokens},
        }  # fmt: skip
        delta = {
            "stop_reason": "stop_sequence" if stopped else reason,
            "stop_sequence": outcome.stop_text if stopped else None,
        }
        row = {"type": "message_delta", "delta": delta, "usage": usage}
        return row if about is None else {**row, "satisfice": about}


def _added_up(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the blocks that events make."""
    pieces: dict[int, dict[str, list[str]]] = {}
    blocks: list[dict[str, Any]] = []
    for row in rows:
        if row["type"] == "content_block_start":
            blocks.append(dict(row["content_block"]))
        elif row["type"] == "content_block_delta":
            [(name, new)] = [pair for pair in row["delta"].items() if pair[0] != "type"]
            pieces.setdefault(row["index"], {}).setdefault(name, []).append(new)
    for at, fields in pieces.items():
        for name, new in fields.items():
            if name == "partial_json":
                blocks[at]["input"] = json.loads("".join(new))
            else:
                blocks[at][name] = "".join(new)
    return blocks


def encoder(request: GenerationRequest, *, response_id: str, created: int, model: str, reasoning: object) -> Encoder:
    """Return the encoder of one message."""
    omitted = (request.original.get("thinking") or {}).get("display") == "omitted"
    display: Literal["shown", "omitted", "hidden"] = "omitted" if omitted else "shown"
    return Encoder(id=response_id, model=model, display="hidden" if request.hide_reasoning else display)


def error_of(failure: Failure) -> dict[str, Any]:
    """Return Anthropic's form of an error."""
    kind = KINDS.get(failure.status, "invalid_request_error" if failure.status < 500 else "api_error")
    said = failure.message
    if failure.code == "context_length_exceeded":
        said = f"prompt is too long: {said}"  # the words that clients look for
    return {"type": "error", "error": {"type": kind, "message": said}, "request_id": None}


ANSWER: Mapping[str, Any] = {
    "type": "object",
    "required": ["id", "type", "role", "model", "content", "stop_reason", "usage"],
    "properties": {
        "id": {"type": "string"}, "type": {"const": "message"}, "role": {"const": "assistant"},
        "model": {"type": "string"}, "content": {"type": "array", "items": {"type": "object", "required": ["type"]}},
        "stop_reason": {"enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use"]},
        "usage": {"type": "object", "required": ["input_tokens", "output_tokens"]},
    },
}  # fmt: skip
ERROR: Mapping[str, Any] = {
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "error": {"type": "object", "required": ["type", "message"], "properties": {"message": {"type": "string"}}},
    },
}
