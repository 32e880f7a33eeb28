"""The bodies of requests: which fields there are, and what each may hold.

Every field that OpenAI's interface or a server in wide use has is listed, so that a misspelt one is an error with a
suggestion and not a setting that nobody obeys.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _well_formed(text: str) -> str:
    """Refuse halves of surrogate pairs: JSON can spell them, but they are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no character") from None
    return text


Text = Annotated[str, AfterValidator(_well_formed)]
Tokens = Annotated[int, Field(ge=1, le=1 << 31)]
ThinkingTokens = Annotated[int, Field(ge=-1, le=1 << 31, description="-1: no limit; 0: no thinking")]
Switch = bool | None
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ContentPart(BaseModel):
    """A piece of a message. What is no text goes to the upstream untouched."""

    model_config = ConfigDict(extra="allow", strict=True)
    type: Text
    text: Text | None = None


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="allow", strict=True)
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[ContentPart], Field(max_length=1000)] | None = None


class StreamOptions(_Part):
    """What a stream says besides the answer."""

    include_usage: Switch = None
    include_obfuscation: Switch = None
    continuous_usage_stats: Switch = None


class Thinking(_Part):
    """Anthropic's spelling."""

    type: Literal["enabled", "disabled", "adaptive"] | None = None
    budget_tokens: ThinkingTokens | None = None


class Reasoning(_Part):
    """OpenRouter's spelling."""

    effort: Effort | None = None
    max_tokens: ThinkingTokens | None = None
    enabled: Switch = None
    exclude: Switch = None
    summary: Text | None = None


class TemplateArguments(_Part):
    """The arguments of chat templates that people use to switch thinking."""

    enable_thinking: Switch = None
    thinking: Switch = None
    thinking_budget: ThinkingTokens | None = None
    reasoning_effort: Effort | None = None


class CustomParams(_Part):
    """SGLang's spelling."""

    thinking_budget: ThinkingTokens | None = None


class Wish(BaseModel):
    """What a client wants of us: a policy by its spec, its name and fields, or a name that this server offers.

    And filters of the next token, with commas between them (`min-p:0.1`), which take the place of the model's top-p.
    """

    model_config = ConfigDict(extra="allow", strict=True)
    policy: Annotated[Text, Field(max_length=2000)] | None = None
    sampler: Annotated[Text, Field(max_length=2000)] | None = None


class Body(BaseModel):
    """What the two kinds of requests have in common."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Text | None = None
    stream: Switch = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    stop: (
        Annotated[Text, Field(min_length=1, max_length=1000)]
        | Annotated[list[Annotated[Text, Field(min_length=1, max_length=1000)]], Field(max_length=16)]
        | None
    ) = None

    satisfice: Wish | None = None
    thinking_token_budget: ThinkingTokens | None = Field(None, description="vLLM")
    thinking_budget: ThinkingTokens | None = Field(None, description="DashScope, FastDeploy")
    thinking_budget_tokens: ThinkingTokens | None = Field(None, description="llama.cpp")
    reasoning_budget_tokens: ThinkingTokens | None = Field(None, description="llama.cpp")
    reasoning_tokens: ThinkingTokens | None = Field(None, description="inspect")
    thinking: Thinking | None = Field(None, description="Anthropic, DeepSeek")
    reasoning: Reasoning | None = Field(None, description="OpenRouter")
    reasoning_effort: Effort | None = Field(None, description="OpenAI")
    enable_thinking: Switch = Field(None, description="DashScope")
    think: Switch = Field(None, description="Ollama")
    include_reasoning: Switch = Field(None, description="OpenRouter, vLLM")
    chat_template_kwargs: TemplateArguments | None = Field(None, description="vLLM, SGLang")
    custom_params: CustomParams | None = Field(None, description="SGLang")

    # Taken and of no effect on the answer
    user: Text | None = None
    metadata: dict[str, Any] | None = None
    store: Switch = None
    service_tier: Text | None = None
    safety_identifier: Text | None = None
    prompt_cache_key: Text | None = None
    prompt_cache_retention: Text | None = None
    parallel_tool_calls: Switch = None

    # For the upstream alone: a request that sets one of these is passed through
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    logprobs: Any = None
    top_logprobs: Any = None
    logit_bias: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    repetition_penalty: Any = None
    top_k: Any = None
    min_p: Any = None
    min_tokens: Any = None
    stop_token_ids: Any = None
    ignore_eos: Any = None
    response_format: Any = None
    structured_outputs: Any = None
    guided_json: Any = None
    guided_regex: Any = None
    guided_choice: Any = None
    guided_grammar: Any = None
    vllm_xargs: Any = None


class ChatBody(Body):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: Tokens | None = None

    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None
    verbosity: Any = None
    web_search_options: Any = None


class CompletionBody(Body):
    """The body of `/v1/completions`."""

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=1)]

    suffix: Any = None
    echo: Any = None
    best_of: Any = None


NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,), "logprobs": (False,), "top_logprobs": (0,), "logit_bias": ({},), "frequency_penalty": (0,),
    "presence_penalty": (0,), "repetition_penalty": (1,), "top_k": (0, -1), "min_p": (0,), "min_tokens": (0,),
    "stop_token_ids": ([],), "ignore_eos": (False,), "response_format": ({"type": "text"},), "tools": ([],),
    "tool_choice": ("none", "auto"), "functions": ([],), "function_call": ("none", "auto"),
    "modalities": (["text"],), "suffix": ("",), "echo": (False,), "best_of": (1,),
}  # fmt: skip
"""Values that say no more than leaving the field out does."""

PASSED = (
    "tools", "tool_choice", "functions", "function_call", "response_format", "structured_outputs", "guided_json",
    "guided_regex", "guided_choice", "guided_grammar", "n", "logprobs", "top_logprobs", "logit_bias",
    "frequency_penalty", "presence_penalty", "repetition_penalty", "top_k", "min_p", "min_tokens", "stop_token_ids",
    "ignore_eos", "vllm_xargs", "modalities", "audio", "prediction", "verbosity", "web_search_options", "suffix",
    "echo", "best_of",
)  # fmt: skip
"""Fields that a policy cannot obey, the weightiest first."""


def passed(body: Body) -> str:
    """The first field for which this request must go to the upstream untouched; "" when a policy can serve it."""
    for name in PASSED:
        value = getattr(body, name, None)
        if value is not None and not any(_same(value, neutral) for neutral in NEUTRAL.get(name, ())):
            return name
    for at, message in enumerate(body.messages if isinstance(body, ChatBody) else ()):
        if message.role in ("tool", "function") or (message.model_extra or {}).get("tool_calls"):
            return "tools"
        if isinstance(message.content, list) and any(part.type != "text" for part in message.content):
            return f"messages[{at}].content"
    return ""


def _same(value: Any, neutral: Any) -> bool:
    return bool(value == neutral) and isinstance(value, bool) == isinstance(neutral, bool)
