"""OpenAI's chat and text completions: a request in, a response out; pure.

A protocol is a file like this one: `read_*` makes a `GenerationRequest` of a body, and an encoder writes what comes of
it. See docs/design/0006-gateway.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from satisfice.gateway.body import Body, ChatBody, CompletionBody
from satisfice.gateway.events import COMMENT, DONE, event, text
from satisfice.gateway.failures import Failure
from satisfice.gateway.generation import Outcome
from satisfice.gateway.reading import checked
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.request import GenerationRequest
from satisfice.gateway.settings import ReasoningField
from satisfice.gateway.thinking import amount_of


def read_chat(row: dict[str, Any]) -> GenerationRequest:
    """Read the body of `/v1/chat/completions`.

    Raises:
        RequestRefused, BadInput: a field is wrong, or two contradict each other.
    """
    body = checked(ChatBody, row)
    return _request(body, row, chat=True, messages=row["messages"])


def read_completion(row: dict[str, Any]) -> GenerationRequest:
    """Read the body of `/v1/completions`."""
    body = checked(CompletionBody, row)
    prompt: Any = body.prompt
    several = isinstance(prompt, list) and not isinstance(prompt[0], int)
    return _request(body, row, chat=False, prompts=tuple(prompt) if several else (prompt,))


def _request(body: Body, row: Mapping[str, Any], **inputs: Any) -> GenerationRequest:
    wish = body.satisfice
    fields = {name: value for name, value in row.items() if value is not None and name != "satisfice"}
    given: dict[str, Any] = {} if wish is None else {"policy": wish.policy, "sampler": wish.sampler}
    return GenerationRequest(
        **inputs, **given, fields=fields, policy_fields={} if wish is None else wish.model_extra or {},
        thinking=amount_of(body), max_tokens=_max_tokens(body),
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()), n=body.n or 1, seed=body.seed,
        stream=bool(body.stream),
        include_usage=body.stream_options is not None and bool(body.stream_options.include_usage),
        hide_reasoning=body.include_reasoning is False
        or (body.reasoning is not None and body.reasoning.exclude is True),
    )  # fmt: skip


def _max_tokens(body: Body) -> int | None:
    newer = body.max_completion_tokens if isinstance(body, ChatBody) else None
    return body.max_tokens if newer is None else newer


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Writes one response: as events of a stream, or whole. What every object of it has in common are its fields."""

    id: str
    created: int  # seconds since 1970
    model: str
    chat: bool
    reasoning: ReasoningField
    hide_reasoning: bool = False
    include_usage: bool = False

    def fields(self, deltas: Sequence[Delta]) -> dict[str, Any]:
        """New text by the names of its fields."""
        said: dict[str, Any] = {}
        for kind, new, data in deltas:
            if kind == "data":
                said |= data
            for name in self._names[kind]:
                said[name] = said.get(name, "") + new
        return said

    @cached_property
    def _names(self) -> dict[str, tuple[str, ...]]:
        both = ("reasoning", "reasoning_content")
        reasoning = both if self.reasoning == "both" else (self.reasoning,)
        return {"content": ("content",), "reasoning": () if self.hide_reasoning else reasoning, "data": ()}

    def chunk(self, deltas: Sequence[Delta], *, index: int = 0, first: bool = False) -> bytes:
        """Return an event of a stream; nothing when there is nothing to say."""
        said = self.fields(deltas)
        logprobs = said.pop("logprobs", None)
        if first and self.chat:
            said = {"role": "assistant", "content": "", **said}
        if not said and not first and logprobs is None:
            return b""
        if logprobs is not None:
            return event(self._event(said if self.chat else said.get("content", ""), index, logprobs=logprobs))
        parts = ",".join([f'"{name}":{text(value)}' for name, value in said.items()])
        before, after = self._around(index)
        return before + (f"{{{parts}}}" if self.chat else text(said.get("content", ""))).encode() + after

    def _around(self, index: int) -> tuple[bytes, bytes]:
        """What stands before and after the new text in each event of a stream, written once: there are thousands."""
        known = self._halves.get(index)
        if known is None:
            mark = "new text"
            before, _, after = event(self._event(mark, index)).rpartition(text(mark).encode())
            known = self._halves[index] = before, after
        return known

    @cached_property
    def _halves(self) -> dict[int, tuple[bytes, bytes]]:
        return {}

    def last_chunk(self, outcome: Outcome, index: int, about: Mapping[str, Any] | None) -> bytes:
        """Return the event that says why one choice ended; the last choice's also what the request took."""
        row = self._event({} if self.chat else "", index, outcome.finish)
        return event(row if about is None else {**row, "satisfice": about})

    def end(self, outcomes: Sequence[Outcome]) -> bytes:
        """Return the end of a stream, with the counts for clients that ask for them."""
        row = {**self._head(stream=True), "choices": [], "usage": usage(outcomes)}
        return (event(row) if self.include_usage else b"") + DONE

    def whole(
        self, deltas: Sequence[Sequence[Delta]], outcomes: Sequence[Outcome], about: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the response as one object, of as many choices as there are outcomes."""
        choices = [self._choice(i, *pair) for i, pair in enumerate(zip(deltas, outcomes, strict=True))]
        return {**self._head(stream=False), "choices": choices, "usage": usage(outcomes), "satisfice": about}

    def error_event(self, failure: Failure) -> bytes:
        """Return the event that says what went wrong in the middle of a stream."""
        return event(error_of(failure))

    def keep_alive(self) -> bytes:
        """Return what is sent while there is nothing to say."""
        return COMMENT

    def _choice(self, index: int, deltas: Sequence[Delta], outcome: Outcome) -> dict[str, Any]:
        said = self.fields(deltas)
        choice: dict[str, Any] = {
            "index": index,
            "finish_reason": outcome.finish,
            "logprobs": said.pop("logprobs", None),
        }
        if self.chat:
            content = said.pop("content", "") or (None if "tool_calls" in said else "")
            choice["message"] = {"role": "assistant", "content": content, "refusal": None, **said}
        else:
            choice["text"] = said.get("content", "")
        return choice

    def _event(self, said: object, index: int, finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        said = {"delta": said} if self.chat else {"text": said}
        choice = {"index": index, **said, "finish_reason": finish, "logprobs": logprobs}
        return {**self._head(stream=True), "choices": [choice]}

    def _head(self, *, stream: bool) -> dict[str, Any]:
        kind = ("chat.completion.chunk" if stream else "chat.completion") if self.chat else "text_completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def usage(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """OpenAI's counts. What was sampled and does not show, probes and dropped chains, counts as reasoning."""
    spent = sum(outcome.spent for outcome in outcomes)
    prompts = {outcome.prompt: outcome.prompt_tokens for outcome in outcomes}
    return {
        "prompt_tokens": sum(prompts.values()),
        "completion_tokens": spent,
        "total_tokens": sum(prompts.values()) + spent,
        "completion_tokens_details": {"reasoning_tokens": sum(outcome.reasoning_tokens for outcome in outcomes)},
    }


def error_of(failure: Failure) -> dict[str, Any]:
    """OpenAI's form of an error."""
    row = {"message": failure.message, "type": failure.kind, "param": failure.param, "code": failure.code}
    return {"error": row}


ERROR: Mapping[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {
                "message": {"type": "string"}, "type": {"type": "string"},
                "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]},
            },
        }
    },
}  # fmt: skip
_COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
ANSWER: Mapping[str, Any] = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage"],
    "properties": {
        "id": {"type": "string"}, "object": {"enum": ["chat.completion", "text_completion"]}, "created": _COUNT,
        "model": {"type": "string"}, "choices": {"type": "array", "minItems": 1, "items": {"type": "object"}},
        "usage": {
            "type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
            "properties": {"prompt_tokens": _COUNT, "completion_tokens": _COUNT, "total_tokens": _COUNT},
        },
        "satisfice": {"type": "object"},
    },
}  # fmt: skip
