"""The bodies of OpenAI's two requests: which fields the gateway reads, and what each may hold.

Only what stands inside `satisfice` is strict. Everything else that the gateway does not read is the server's to judge.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _well_formed(text: str) -> str:
    """Refuse halves of surrogate pairs: JSON can spell them, but they are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no character") from None
    return text


def _whole(value: Any) -> Any:
    """7.0 is a whole number in JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, AfterValidator(_well_formed)]
Tokens = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=1 << 31)]
ThinkingTokens = Annotated[
    int, BeforeValidator(_whole), Field(ge=-1, le=1 << 31, description="-1: no limit; 0: no thinking")
]
TokenId = Annotated[int, Field(ge=0, lt=1 << 31)]
Switch = bool | None
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Row(BaseModel):
    """An object of a body, of which further fields are somebody else's to judge."""

    model_config = ConfigDict(extra="allow", strict=True)


class ContentPart(Row):
    """A piece of a message."""

    type: Text
    text: Text | None = None


class Message(Row):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[ContentPart], Field(max_length=1000)] | None = None


class StreamOptions(Row):
    """What a stream says besides the answer."""

    include_usage: Switch = None
    include_obfuscation: Switch = None
    continuous_usage_stats: Switch = None


class Thinking(Row):
    """Anthropic's spelling."""

    type: Literal["enabled", "disabled", "adaptive"] | None = None
    budget_tokens: ThinkingTokens | None = None


class Reasoning(Row):
    """OpenRouter's spelling."""

    effort: Effort | None = None
    max_tokens: ThinkingTokens | None = None
    enabled: Switch = None
    exclude: Switch = None


class TemplateArguments(Row):
    """Variables of the chat template; these are those by which people switch thinking."""

    enable_thinking: Switch = None
    thinking: Switch = None
    thinking_budget: ThinkingTokens | None = None
    reasoning_effort: Effort | None = None


class CustomParams(Row):
    """SGLang's spelling."""

    thinking_budget: ThinkingTokens | None = None


class Wish(Row):
    """What a client wants of us: a policy by its spec, its name and fields, or a name that this server offers.

    And filters of the next token, with commas between them (`min-p:0.1`), which take the place of the model's top-p.
    """

    policy: Annotated[Text, Field(max_length=2000)] | None = None
    sampler: Annotated[Text, Field(max_length=2000)] | None = None


class Body(BaseModel):
    """What the two kinds of requests have in common."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: Text | None = None
    stream: Switch = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    seed: Annotated[int, BeforeValidator(_whole), Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    n: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=128)] | None = None
    stop: (
        Annotated[Text, Field(min_length=1, max_length=1000)]
        | Annotated[list[Annotated[Text, Field(min_length=1, max_length=1000)]], Field(max_length=16)]
        | None
    ) = None
    top_k: Annotated[int, BeforeValidator(_whole), Field(ge=-1, le=1 << 31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] | None = None
    min_tokens: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=1 << 31)] | None = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=1000)] | None = None
    logit_bias: (
        Annotated[
            dict[Annotated[str, Field(pattern=r"^\d{1,9}$")], Annotated[float, Field(ge=-100, le=100)]],
            Field(max_length=1000),
        ]
        | None
    ) = None

    satisfice: Wish | None = None
    thinking_token_budget: ThinkingTokens | None = Field(None, description="vLLM")
    thinking_budget: ThinkingTokens | None = Field(None, description="DashScope, FastDeploy")
    thinking_budget_tokens: ThinkingTokens | None = Field(None, description="llama.cpp")
    reasoning_budget_tokens: ThinkingTokens | None = Field(None, description="llama.cpp")
    reasoning_tokens: ThinkingTokens | None = Field(None, description="a number of tokens by its plain name")
    thinking: Thinking | None = Field(None, description="Anthropic, DeepSeek")
    reasoning: Reasoning | None = Field(None, description="OpenRouter")
    reasoning_effort: Effort | None = Field(None, description="OpenAI")
    enable_thinking: Switch = Field(None, description="DashScope")
    think: Switch = Field(None, description="Ollama")
    include_reasoning: Switch = Field(None, description="OpenRouter, vLLM")
    chat_template_kwargs: TemplateArguments | None = Field(None, description="vLLM, SGLang")
    custom_params: CustomParams | None = Field(None, description="SGLang")


class ChatBody(Body):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: Tokens | None = None


class CompletionBody(Body):
    """The body of `/v1/completions`: one prompt or several, as text or as token ids."""

    prompt: (
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=128)]
        | Annotated[list[TokenId], Field(min_length=1)]
        | Annotated[list[Annotated[list[TokenId], Field(min_length=1)]], Field(min_length=1, max_length=128)]
    )
