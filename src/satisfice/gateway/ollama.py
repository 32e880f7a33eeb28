"""Ollama's chat and generate: a request in, lines of JSON or one object out; and what it says of its model; pure.

Requests are translated into OpenAI's chat form.
"""

import base64
import binascii
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from satisfice.core.errors import BadInput
from satisfice.gateway.body import Row, Switch, Text, TokenId, Wish
from satisfice.gateway.events import dumps
from satisfice.gateway.failures import Failure
from satisfice.gateway.generation import Outcome
from satisfice.gateway.reading import checked
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.request import GenerationRequest
from satisfice.gateway.translation import Gathered, chat_request, check_last, content_of_parts, image, json_schema

UNUSED = frozenset({
    "keep_alive", "num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "num_keep", "numa",
    "low_vram", "vocab_only", "use_mlock", "f16_kv", "penalize_newline", "shift",
})  # fmt: skip
"""How Ollama loads and runs a model: the server has loaded its own."""
SAMPLING = frozenset({
    "temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "repeat_penalty", "presence_penalty",
    "frequency_penalty",
})  # fmt: skip
"""Options that are called as the fields of OpenAI's form are."""
NAMES = {"response_format": "format", "max_tokens": "options.num_predict", "messages": "messages"}
KINDS: Mapping[bytes, str] = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp", b"GIF8": "gif"}
VERSION = "0.12.0"  # of Ollama's interface: clients ask for it


class Function(Row):
    """What is called, and with what."""

    name: Text
    arguments: Annotated[dict[str, Any], Field(default_factory=dict)]


class ToolCall(Row):
    """A call of a tool."""

    id: Text | None = None
    function: Function


class Turn(Row):
    """One message."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Text | None = None
    thinking: Text | None = None
    images: Annotated[list[Text], Field(max_length=100)] | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=1000)] | None = None
    tool_name: Text | None = None
    tool_call_id: Text | None = None


class Options(Row):
    """How to sample, and how long."""

    num_predict: Annotated[int, Field(ge=-2, le=1 << 31)] | None = None
    stop: Text | Annotated[list[Text], Field(max_length=16)] | None = None


class _Body(Row):
    model: Text | None = None
    stream: Switch = None
    think: bool | Literal["low", "medium", "high", "max"] | None = None
    format: Literal["", "json"] | dict[str, Any] | None = None
    options: Options | None = None
    logprobs: Switch = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    satisfice: Wish | None = None


class OllamaChat(_Body):
    """The body of `/api/chat`."""

    messages: Annotated[list[Turn], Field(min_length=1, max_length=10_000)]
    tools: Annotated[list[dict[str, Any]], Field(max_length=1000)] | None = None


class OllamaGenerate(_Body):
    """The body of `/api/generate`."""

    prompt: Annotated[Text, Field(min_length=1)]
    system: Text | None = None
    images: Annotated[list[Text], Field(max_length=100)] | None = None
    raw: Switch = None
    suffix: Text | None = None
    template: Text | None = None
    context: Annotated[list[TokenId], Field(max_length=1 << 20)] | None = None


def read_chat(row: dict[str, Any]) -> GenerationRequest:
    """Return the request of a body of `/api/chat`.

    Raises:
        RequestRefused, BadInput: a field is wrong, asks for what is not here, or contradicts another.
    """
    body = checked(OllamaChat, row)
    messages = list(_messages(body.messages))
    check_last(messages)
    return _read(body, row, {"messages": messages, "tools": body.tools or None}, {"messages", "tools"})


def read_generate(row: dict[str, Any]) -> GenerationRequest:
    """Return the request of a body of `/api/generate`; else as `read_chat`."""
    body = checked(OllamaGenerate, row)
    for name, way in (
        ("raw", "Use /v1/completions for a text without the chat form"),
        ("suffix", "Use /v1/completions"),
        ("template", "Leave it out"),
        ("context", "Send the conversation to /api/chat"),
    ):
        if row.get(name):
            raise BadInput(f"{name}: this server does not take it. {way}.")
    turns = [
        *([{"role": "system", "content": body.system}] if body.system else []),
        _turn("user", body.prompt, body.images),
    ]
    ours = {"prompt", "system", "images", "raw", "suffix", "template", "context"}
    return _read(body, row, {"messages": turns}, ours)


def _read(body: _Body, row: Mapping[str, Any], made: Mapping[str, Any], ours: set[str]) -> GenerationRequest:
    options = {} if body.options is None else {k: v for k, v in (row["options"]).items() if v is not None}
    ours |= {"options", "format", "think", "stream", "model", "logprobs", "top_logprobs", *UNUSED}
    rest = {name: value for name, value in row.items() if name not in ours}
    rest |= {name: value for name, value in options.items() if name not in {"num_predict", "stop", *UNUSED}}
    limit = options.get("num_predict", -1)
    stop = options.get("stop") or None
    asked = dict(made) | {
        "model": None if body.model is None else body.model.removesuffix(":latest"),
        "stream": body.stream is not False,
        "max_tokens": limit if limit > 0 else None,
        "stop": [text for text in ([stop] if isinstance(stop, str) else stop or []) if text] or None,
        "response_format": _format(body.format),
        "logprobs": body.logprobs or None,
        "top_logprobs": body.top_logprobs if body.logprobs else None,
        **({"reasoning_effort": body.think} if isinstance(body.think, str) else {"think": body.think}),
    }  # fmt: skip
    if limit == 0:
        raise BadInput("options.num_predict: must be at least 1, or -1 for no limit.")
    return chat_request(asked, rest, row, NAMES if isinstance(body, OllamaChat) else {**NAMES, "messages": "images"})


def _format(asked: Any) -> dict[str, Any] | None:
    if not asked:
        return None
    return {"type": "json_object"} if asked == "json" else json_schema(asked)


def _messages(turns: Sequence[Turn]) -> Iterator[dict[str, Any]]:
    """Yield messages in OpenAI's form. Calls without an id are numbered, and results answer them in their order."""
    open_: list[str] = []
    for at, turn in enumerate(turns):
        row = _turn(turn.role, turn.content or "", turn.images)
        if turn.thinking:
            row["reasoning_content"] = turn.thinking
        if turn.tool_calls:
            open_ = [call.id or f"call_{at}_{number}" for number, call in enumerate(turn.tool_calls)]
            row["tool_calls"] = [
                {"id": name, "type": "function",
                 "function": {"name": call.function.name, "arguments": dumps(call.function.arguments).decode()}}
                for name, call in zip(open_, turn.tool_calls, strict=True)
            ]  # fmt: skip
        if turn.role == "tool":
            first = open_.pop(0) if open_ else ""
            row["tool_call_id"] = turn.tool_call_id or first or f"call_{at}"
            if turn.tool_name:
                row["name"] = turn.tool_name
        yield row


def _turn(role: str, text: str, images: Sequence[str] | None) -> dict[str, Any]:
    parts = [{"type": "text", "text": text}, *(image(_address(data)) for data in images or ())]
    return {"role": role, "content": content_of_parts(parts)}


def _address(data: str) -> str:
    try:
        head = base64.b64decode(data[:16], validate=True)
    except (ValueError, binascii.Error):
        raise BadInput("images: must be images in base64.") from None
    kind = next((kind for mark, kind in KINDS.items() if head.startswith(mark)), "png")
    return f"data:image/{kind};base64,{data}"


@dataclass(kw_only=True)
class Encoder:
    """Writes one response: as lines of JSON, or whole."""

    model: str
    created: int  # seconds since 1970
    chat: bool
    _gathered: Gathered = field(default_factory=Gathered)
    _told: int = 0  # log-probabilities that were sent

    def chunk(self, deltas: Sequence[Delta], *, index: int = 0, first: bool = False) -> bytes:
        """Return lines for new text; nothing when there is nothing to say."""
        texts = self._gathered.take(deltas)
        return b"".join(self._line(thinking, content) for thinking, content in _runs(texts))

    def last_chunk(self, outcome: Outcome, index: int, about: Mapping[str, Any] | None) -> bytes:
        """Return the lines that hold calls of tools, and why the response ended, with the counts."""
        calls = self._calls()
        begin = dumps({**self._head(), **self._said("", "", calls), "done": False}) + b"\n" if calls else b""
        return begin + dumps({**self._head(), **self._said("", ""), **self._ending(outcome, about)}) + b"\n"

    def end(self, outcomes: Sequence[Outcome]) -> bytes:
        """Return nothing: the last line says that it is the last."""
        return b""

    def whole(
        self, deltas: Sequence[Sequence[Delta]], outcomes: Sequence[Outcome], about: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the response as one object."""
        texts = self._gathered.take(deltas[0])
        thinking, content = ("".join(d.text for d in texts if d.kind == kind) for kind in ("reasoning", "content"))
        said = self._said(thinking, content, self._calls())
        return {**self._head(), **said, **self._logprobs(), **self._ending(outcomes[0], about)}

    def error_event(self, failure: Failure) -> bytes:
        """Return the line that says what went wrong in the middle of a stream."""
        return dumps(error_of(failure)) + b"\n"

    def keep_alive(self) -> bytes:
        """Return what is sent while there is nothing to say: a line without text."""
        return dumps({**self._head(), **self._said("", ""), "done": False}) + b"\n"

    def _line(self, thinking: str, content: str) -> bytes:
        row = {**self._head(), **self._said(thinking, content), **self._logprobs(), "done": False}
        return dumps(row) + b"\n"

    def _head(self) -> dict[str, Any]:
        return {"model": self.model, "created_at": _time(self.created)}

    def _said(self, thinking: str, content: str, calls: Sequence[Any] = ()) -> dict[str, Any]:
        more = {**({"thinking": thinking} if thinking else {}), **({"tool_calls": calls} if calls else {})}
        if self.chat:
            return {"message": {"role": "assistant", "content": content, **more}}
        return {"response": content, **more}

    def _calls(self) -> list[dict[str, Any]]:
        return [
            {**({"id": call.id} if call.id else {}), "function": {"name": call.name, "arguments": call.values}}
            for call in self._gathered.calls
        ]

    def _logprobs(self) -> dict[str, Any]:
        new = self._gathered.logprobs[self._told :]
        self._told += len(new)
        return {"logprobs": new} if new else {}

    def _ending(self, outcome: Outcome, about: Mapping[str, Any] | None) -> dict[str, Any]:
        ns = round(outcome.ledger.wall_s * 1e9)
        return {
            **self._logprobs(), "done": True, "done_reason": "length" if outcome.finish == "length" else "stop",
            "total_duration": ns, "load_duration": 0, "prompt_eval_count": outcome.prompt_tokens,
            "prompt_eval_duration": 0, "eval_count": outcome.spent, "eval_duration": ns,
            **({} if about is None else {"satisfice": about}),
        }  # fmt: skip


def _runs(texts: Sequence[Delta]) -> Iterator[tuple[str, str]]:
    """Yield thinking and answer by turns, each run of one kind in one piece."""
    kind, run = "", list[str]()
    for delta in [*texts, Delta("data", "")]:
        if delta.kind != kind and run:
            said = "".join(run)
            yield (said, "") if kind == "reasoning" else ("", said)
            run = []
        kind = delta.kind
        run.append(delta.text)


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat().replace("+00:00", "Z")


def encoder(request: GenerationRequest, *, response_id: str, created: int, model: str, reasoning: object) -> Encoder:
    """Return the encoder of one response."""
    return Encoder(model=model, created=created, chat="messages" in request.original)


def error_of(failure: Failure) -> dict[str, Any]:
    """Return Ollama's form of an error."""
    return {"error": failure.message}


def model_of(row: Mapping[str, Any]) -> str:
    """Return the model that a request names, by the newer of its two fields."""
    name = row.get("model") or row.get("name")
    if not isinstance(name, str) or not name:
        raise BadInput("model: is required, and must be a string.")
    return name.removesuffix(":latest")


def tags(model: str, since: int) -> dict[str, Any]:
    """Return the list of models, which has one."""
    row = {"name": model, "model": model, "modified_at": _time(since), "size": 0, "digest": "", "details": DETAILS}
    return {"models": [row]}


def show(model: str, since: int, length: int | None, *, tools: bool) -> dict[str, Any]:
    """Return what the model is and can do. `tools`: the server behind has parsers for calls of tools."""
    info: dict[str, Any] = {"general.architecture": "unknown", "general.basename": model}
    if length is not None:
        info["unknown.context_length"] = length
    return {
        "modelfile": "", "parameters": "", "template": "", "license": "", "details": DETAILS, "model_info": info,
        "capabilities": ["completion", "thinking", *(["tools"] if tools else [])], "modified_at": _time(since),
    }  # fmt: skip


DETAILS: Mapping[str, Any] = {
    "parent_model": "", "format": "", "family": "", "families": [], "parameter_size": "", "quantization_level": "",
}  # fmt: skip
ANSWER: Mapping[str, Any] = {
    "type": "object",
    "required": ["model", "created_at", "done", "done_reason", "prompt_eval_count", "eval_count"],
    "properties": {
        "done": {"const": True}, "done_reason": {"enum": ["stop", "length"]},
        "eval_count": {"type": "integer", "minimum": 0},
    },
}  # fmt: skip
ERROR: Mapping[str, Any] = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
