"""What a client asks for, whatever protocol it speaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from satisfice.gateway.thinking import EVERYTHING, Amount


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """A request to generate, read from a protocol. A protocol makes these; nothing behind it knows the protocol."""

    chat: bool
    messages: Sequence[Mapping[str, Any]] = ()  # as they came, in OpenAI's form; chat only
    prompts: Sequence[str | Sequence[int]] = ()  # texts or token ids to go on from; completions only
    fields: Mapping[str, Any]  # every field of the request in OpenAI's form, without those that hold null
    policy: str | None = None
    policy_fields: Mapping[str, Any] = field(default_factory=dict)
    sampler: str | None = None
    thinking: Amount = EVERYTHING
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    seed: int | None = None
    stream: bool = False
    include_usage: bool = False  # a stream ends with the counts
    hide_reasoning: bool = False
    original: Mapping[str, Any] = field(default_factory=dict)  # the body as it came, for protocols that repeat it
    names: Mapping[str, str] = field(default_factory=dict)  # what the protocol calls fields that OpenAI calls otherwise

    @property
    def choices(self) -> int:
        """How many answers are wanted."""
        return self.n * max(1, len(self.prompts))

    def name_of(self, field: str) -> str:
        """Return what the client calls a field."""
        return self.names.get(field, field)

    @property
    def template(self) -> dict[str, Any]:
        """Variables of the chat template."""
        given = dict(self.fields.get("chat_template_kwargs") or {})
        effort = self.fields.get("reasoning_effort")
        return {**({"reasoning_effort": effort} if effort not in (None, "none") else {}), **given}

    @property
    def has_media(self) -> str:
        """The first message with something that is no text, by its place; "" when there is none."""
        for at, message in enumerate(self.messages):
            content = message.get("content")
            if isinstance(content, list) and any(part.get("type") not in ("text", "input_text") for part in content):
                return self.names.get("messages", f"messages[{at}].content")
        return ""
