"""The body of OpenAI's Responses: which fields the gateway reads, and what each may hold."""

from typing import Annotated, Any, Literal

from pydantic import Field

from satisfice.gateway.body import Reasoning, Row, Switch, Text, Tokens, Wish


class Part(Row):
    """A piece of a message or of reasoning."""

    type: Text
    text: Text | None = None
    image_url: Text | None = None
    refusal: Text | None = None


class Item(Row):
    """A message, reasoning, the call of a function or its result."""

    type: Text | None = None
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: Text | Annotated[list[Part], Field(max_length=1000)] | None = None
    summary: Annotated[list[Part], Field(max_length=1000)] | None = None
    encrypted_content: Text | None = None
    call_id: Text | None = None
    name: Text | None = None
    arguments: Text | None = None
    output: Text | Annotated[list[Part], Field(max_length=1000)] | None = None


class Tool(Row):
    """A function that the model may call."""

    type: Text
    name: Text | None = None
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: Switch = None


class Format(Row):
    """The form of the answer."""

    type: Literal["text", "json_schema", "json_object"]
    name: Text | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: Switch = None


class TextConfig(Row):
    """How the answer is written."""

    format: Format | None = None
    verbosity: Text | None = None


class ResponsesBody(Row):
    """The body of `/v1/responses`."""

    model: Text | None = None
    input: Text | Annotated[list[Item], Field(min_length=1, max_length=10_000)]
    instructions: Text | None = None
    stream: Switch = None
    max_output_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    reasoning: Reasoning | None = None
    include: Annotated[list[Text], Field(max_length=100)] | None = None
    store: Switch = None
    background: Switch = None
    previous_response_id: Text | None = None
    tools: Annotated[list[Tool], Field(max_length=1000)] | None = None
    tool_choice: Text | dict[str, Any] | None = None
    parallel_tool_calls: Switch = None
    text: TextConfig | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    metadata: dict[str, Any] | None = None
    satisfice: Wish | None = None
