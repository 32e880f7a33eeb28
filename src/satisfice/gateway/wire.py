"""What goes over the wire: OpenAI's objects from pieces and outcomes; pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from satisfice.gateway.run import Outcome
from satisfice.gateway.settings import ReasoningField
from satisfice.gateway.shown import Piece

_JSON = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, kw_only=True)
class Form:
    """What every object of one answer has in common."""

    id: str
    created: int  # seconds since 1970
    model: str
    chat: bool
    reasoning: ReasoningField
    hide_reasoning: bool = False

    def delta(self, pieces: Sequence[Piece]) -> dict[str, str]:
        """New text by the names of its fields."""
        said: dict[str, str] = {}
        for kind, text in pieces:
            for name in self._fields[kind]:
                said[name] = said.get(name, "") + text
        return said

    @cached_property
    def _fields(self) -> dict[str, tuple[str, ...]]:
        both = ("reasoning", "reasoning_content")
        reasoning = both if self.reasoning == "both" else (self.reasoning,)
        return {"content": ("content",), "reasoning": () if self.hide_reasoning else reasoning}

    def chunk(self, pieces: Sequence[Piece], *, first: bool = False) -> bytes:
        """An event of a stream; nothing when there is nothing to say."""
        said = self.delta(pieces)
        if first and self.chat:
            said = {"role": "assistant", "content": "", **said}
        if not said and not first:
            return b""
        fields = ",".join([f'"{name}":{_JSON(text)}' for name, text in said.items()])
        before, after = self._around
        return before + (f"{{{fields}}}" if self.chat else _JSON(said.get("content", ""))).encode() + after

    @cached_property
    def _around(self) -> tuple[bytes, bytes]:
        """What stands before and after the new text in each event of a stream, written once: there are thousands."""
        mark = "new text"
        before, _, after = event(self._event(mark)).rpartition(_JSON(mark).encode())
        return before, after

    def last_chunk(self, finish: str, about: dict[str, Any]) -> dict[str, Any]:
        """The event that says why the answer ended, and what it took."""
        return {**self._event({} if self.chat else "", finish), "satisfice": about}

    def usage_chunk(self, outcome: Outcome) -> dict[str, Any]:
        """The event with the counts, for clients that ask for it."""
        return {**self._head(stream=True), "choices": [], "usage": usage(outcome)}

    def whole(self, pieces: Sequence[Piece], outcome: Outcome, about: dict[str, Any]) -> dict[str, Any]:
        """The answer as one object."""
        said = self.delta(pieces)
        choice: dict[str, Any] = {"index": 0, "finish_reason": outcome.finish, "logprobs": None}
        if self.chat:
            choice["message"] = {"role": "assistant", "content": "", "refusal": None, **said}
        else:
            choice["text"] = said.get("content", "")
        return {**self._head(stream=False), "choices": [choice], "usage": usage(outcome), "satisfice": about}

    def _event(self, said: object, finish: str | None = None) -> dict[str, Any]:
        said = {"delta": said} if self.chat else {"text": said}
        return {**self._head(stream=True), "choices": [{"index": 0, **said, "finish_reason": finish, "logprobs": None}]}

    def _head(self, *, stream: bool) -> dict[str, Any]:
        kind = ("chat.completion.chunk" if stream else "chat.completion") if self.chat else "text_completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def usage(outcome: Outcome) -> dict[str, Any]:
    """OpenAI's counts. What was sampled and does not show, probes and dropped chains, counts as reasoning."""
    spent = outcome.ledger.spent
    return {
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": spent,
        "total_tokens": outcome.prompt_tokens + spent,
        "completion_tokens_details": {"reasoning_tokens": outcome.reasoning_tokens},
    }


def about(policy: str, outcome: Outcome, *, answered: bool, **more: Any) -> dict[str, Any]:
    """The extension object: the rule, why it stopped, and the whole ledger."""
    return {
        "policy": policy, "stopped": outcome.stopped, "no_answer": not answered, "chains": outcome.chains,
        "looks": outcome.looks, "ledger": outcome.ledger.as_row(), **more,
    }  # fmt: skip


def error_of(message: str, kind: str, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """OpenAI's form of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def dumps(row: Any) -> bytes:
    """JSON without spaces, in ASCII, so that it may stand in a header too."""
    return _JSON(row).encode()


def event(row: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + dumps(row) + b"\n\n"


DONE = b"data: [DONE]\n\n"
COMMENT = b": still thinking\n\n"
