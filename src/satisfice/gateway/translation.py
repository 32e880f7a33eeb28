"""What the protocols share that are translated into OpenAI's chat form, and back from its deltas; pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from satisfice.core.errors import BadInput
from satisfice.gateway.fields import treated
from satisfice.gateway.openai import read_chat
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.request import GenerationRequest


def chat_request(
    made: Mapping[str, Any], rest: Mapping[str, Any], original: Mapping[str, Any], names: Mapping[str, str]
) -> GenerationRequest:
    """Return the request of the fields that a protocol translated (`made`) and of those that it has left (`rest`).

    `original` is the whole body, and `names` says what the protocol calls what it translated, for errors.

    Raises:
        BadInput: a field of `rest` changes the form of a response in a way that the protocol cannot show.
    """
    shaping = treated(rest, "answer", "upstream") or {
        name: rest[name] for name in ("n",) if rest.get(name) not in (None, 1)
    }
    if name := next(iter(shaping), ""):
        raise BadInput(
            f"{name}: it is no field of this route, and what it asks for cannot be shown here. Leave it out."
        )
    ours = {name: value for name, value in rest.items() if name not in ("n", "stream_options", "prompt")}
    request = read_chat({**ours, **{name: value for name, value in made.items() if value is not None}})
    return replace(request, original=original, names=names)


def check_last(messages: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a conversation whose last turn is the assistant's: a chain begins a turn, and does not go on with one."""
    if messages[-1].get("role") == "assistant":
        raise BadInput(
            "messages: the last one is the assistant's, and this server goes on from none. End with a user's."
        )


def function_tool(name: str, description: str | None, parameters: Any, strict: bool | None = None) -> dict[str, Any]:
    """Return a tool in OpenAI's chat form."""
    row = {"name": name, "description": description, "parameters": parameters, "strict": strict}
    return {"type": "function", "function": {key: value for key, value in row.items() if value is not None}}


def json_schema(schema: Mapping[str, Any], name: str = "answer", **more: Any) -> dict[str, Any]:
    """Return the `response_format` of an answer that is JSON by a schema."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, **more}}


def image(url: str) -> dict[str, Any]:
    """Return a part of a message that is an image, by its address or as a `data:` URL."""
    return {"type": "image_url", "image_url": {"url": url}}


def content_of_parts(parts: Sequence[Mapping[str, Any]]) -> Any:
    """Return the content of a message: one text as it is, and anything else as parts."""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else list(parts)


@dataclass
class Call:
    """A call of a tool."""

    id: str = ""
    name: str = ""
    arguments: str = ""  # JSON

    @property
    def values(self) -> dict[str, Any]:
        """Return its arguments; empty when what the model wrote is no JSON object."""
        try:
            found = json.loads(self.arguments or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass
class Gathered:
    """What deltas hold besides text, put together from its pieces: calls of tools, log-probabilities."""

    found: dict[int, Call] = field(default_factory=dict)
    logprobs: list[Mapping[str, Any]] = field(default_factory=list)

    def take(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Keep what is no text, and return the texts."""
        texts = []
        for delta in deltas:
            if delta.kind != "data":
                texts.append(delta)
                continue
            for at, piece in enumerate(delta.data.get("tool_calls") or ()):
                self._call(piece.get("index", at), piece)
            self.logprobs += (delta.data.get("logprobs") or {}).get("content") or []
            if refusal := delta.data.get("refusal"):
                texts.append(Delta("content", str(refusal)))
        return texts

    def _call(self, at: int, piece: Mapping[str, Any]) -> None:
        call, function = self.found.setdefault(at, Call()), piece.get("function") or {}
        call.id = piece.get("id") or call.id
        call.name += function.get("name") or ""
        call.arguments += function.get("arguments") or ""

    @property
    def calls(self) -> list[Call]:
        """Return the calls in their order."""
        return [self.found[at] for at in sorted(self.found)]
