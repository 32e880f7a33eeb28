"""The protocols that the gateway speaks: for each route, who reads its body and who writes its response."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from satisfice.gateway import anthropic, ollama, openai, responses
from satisfice.gateway.anthropic import MessagesBody
from satisfice.gateway.body import ChatBody, CompletionBody
from satisfice.gateway.failures import Failure
from satisfice.gateway.generation import Outcome
from satisfice.gateway.ollama import OllamaChat, OllamaGenerate
from satisfice.gateway.reasoning import Delta
from satisfice.gateway.request import GenerationRequest
from satisfice.gateway.responses_body import ResponsesBody
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

    def error_event(self, failure: Failure) -> bytes:
        """Return what says in the middle of a stream that something went wrong."""
        ...

    def keep_alive(self) -> bytes:
        """Return what is sent on a stream while there is nothing to say."""
        ...


class NewEncoder(Protocol):
    """Makes the encoder of one response."""

    def __call__(
        self, request: GenerationRequest, *, response_id: str, created: int, model: str, reasoning: ReasoningField
    ) -> Encoder: ...


@dataclass(frozen=True, kw_only=True)
class Form:
    """What all routes of a protocol have in common."""

    begins: tuple[str, ...]  # what their paths begin with
    error: Callable[[Failure], dict[str, Any]]
    failed: Mapping[str, Any]  # JSON schema of an error
    stream: str = "text/event-stream; charset=utf-8"


FORMS: tuple[Form, ...] = (
    Form(begins=("/v1/messages",), error=anthropic.error_of, failed=anthropic.ERROR),
    Form(begins=("/api/",), error=ollama.error_of, failed=ollama.ERROR, stream="application/x-ndjson"),
    Form(begins=("",), error=openai.error_of, failed=openai.ERROR),
)


def form_of(path: str) -> Form:
    """Return the form in which a path answers."""
    return next(form for form in FORMS if path.startswith(form.begins))


@dataclass(frozen=True, kw_only=True)
class Route:
    """One route that generates."""

    path: str
    summary: str
    body: type[BaseModel]  # for the description of the interface
    prefix: str  # what the ids of its responses begin with
    read: Callable[[dict[str, Any]], GenerationRequest]
    encoder: NewEncoder
    answer: Mapping[str, Any]  # JSON schema of a whole response
    passes: str = ""  # the upstream's path that speaks the same protocol; "": its chat route serves in its place


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
        read=openai.read_chat, encoder=_openai, answer=openai.ANSWER, passes="/v1/chat/completions",
    ),
    Route(
        path="/v1/completions", summary="Continue a text", body=CompletionBody, prefix="cmpl-",
        read=openai.read_completion, encoder=_openai, answer=openai.ANSWER, passes="/v1/completions",
    ),
    Route(
        path="/v1/messages", summary="Anthropic: write a message", body=MessagesBody, prefix=anthropic.PREFIX,
        read=anthropic.read_messages, encoder=anthropic.encoder, answer=anthropic.ANSWER,
    ),
    Route(
        path="/v1/responses", summary="OpenAI: write a response", body=ResponsesBody, prefix=responses.PREFIX,
        read=responses.read_responses, encoder=responses.encoder, answer=responses.ANSWER,
    ),
    Route(
        path="/api/chat", summary="Ollama: continue a conversation", body=OllamaChat, prefix="ollama-",
        read=ollama.read_chat, encoder=ollama.encoder, answer=ollama.ANSWER,
    ),
    Route(
        path="/api/generate", summary="Ollama: answer a prompt", body=OllamaGenerate, prefix="ollama-",
        read=ollama.read_generate, encoder=ollama.encoder, answer=ollama.ANSWER,
    ),
)  # fmt: skip
"""Every route that generates. A further protocol is its file and its lines here."""
