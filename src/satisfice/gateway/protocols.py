"""The protocols that the gateway speaks: for each route, who reads its body and who writes its response."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from satisfice.gateway import openai
from satisfice.gateway.body import ChatBody, CompletionBody
from satisfice.gateway.failures import Failure
from satisfice.gateway.generation import Outcome
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.request import GenerationRequest
from satisfice.gateway.settings import ReasoningField


class Encoder(Protocol):
    """Writes one response in the form of a protocol. Choices are numbered from 0."""

    def chunk(self, deltas: Sequence[Delta], *, index: int = 0, first: bool = False) -> bytes:
        """Events for new text of a choice; nothing when there is nothing to say."""
        ...

    def last_chunk(self, outcome: Outcome, index: int, about: Mapping[str, Any] | None) -> bytes:
        """Events that say why one choice ended; with the last one comes what the gateway did (`about`)."""
        ...

    def end(self, outcomes: Sequence[Outcome]) -> bytes:
        """Events that end a stream."""
        ...

    def whole(
        self, deltas: Sequence[Sequence[Delta]], outcomes: Sequence[Outcome], about: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the response as one object."""
        ...

    def error(self, failure: Failure) -> dict[str, Any]:
        """Return an error, as a body or as an event."""
        ...


class NewEncoder(Protocol):
    """Makes the encoder of one response."""

    def __call__(
        self, request: GenerationRequest, *, response_id: str, created: int, model: str, reasoning: ReasoningField
    ) -> Encoder: ...


@dataclass(frozen=True, kw_only=True)
class Route:
    """One route that generates."""

    path: str
    summary: str
    body: type[BaseModel]  # for the description of the interface
    prefix: str  # what the ids of its responses begin with
    read: Callable[[dict[str, Any]], GenerationRequest]
    encoder: NewEncoder
    passes: str = ""  # the upstream's path that speaks the same protocol; "": none does


def _openai(
    request: GenerationRequest, *, response_id: str, created: int, model: str, reasoning: ReasoningField
) -> openai.Encoder:
    return openai.Encoder(
        id=response_id, created=created, model=model, chat=request.chat, reasoning=reasoning,
        hide_reasoning=request.hide_reasoning, include_usage=request.include_usage,
    )  # fmt: skip


ROUTES: tuple[Route, ...] = (
    Route(
        path="/v1/chat/completions", summary="Continue a conversation", body=ChatBody, prefix="chatcmpl-",
        read=openai.read_chat, encoder=_openai, passes="/v1/chat/completions",
    ),
    Route(
        path="/v1/completions", summary="Continue a text", body=CompletionBody, prefix="cmpl-",
        read=openai.read_completion, encoder=_openai, passes="/v1/completions",
    ),
)  # fmt: skip
"""Every route that generates. A further protocol is its file and its lines here."""
