"""What the person who runs a gateway decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from satisfice.core.errors import BadInput
from satisfice.core.fields import Range
from satisfice.core.flags import Flag
from satisfice.core.session import Policy
from satisfice.gateway.promise import OnBroken, Promise
from satisfice.methods.stopping.full import Full

ReasoningField = Literal["reasoning", "reasoning_content", "both"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one request, or one key, may take."""

    tokens: Annotated[int | None, Range(1), Flag("Longest chain. Default: the model's own.", name="max-tokens")] = None
    chains: Annotated[int, Range(1), Flag("Chains of one request, over all its choices.", name="max-chains")] = 64
    spend: Annotated[
        int, Range(1), Flag("Tokens sampled for one choice, over all its chains.", name="max-spend")
    ] = 1 << 20  # fmt: skip
    seconds: Annotated[
        float, Range(0), Flag("Then thinking is closed and the answer is written.", name="max-seconds")
    ] = 600.0
    answer_seconds: Annotated[float, Range(0), Flag("For the answer after that.")] = 30.0
    answer_loop: Annotated[
        int | None, Range(1), Flag("Characters of an answer that repeat one passage, after which it ends.")
    ] = 2000
    passed_seconds: Annotated[float, Range(0), Flag("For a request that is passed through, in all.")] = 3600.0
    body: Annotated[int, Range(1), Flag("Bytes of a request.", name="max-body")] = 1 << 20
    at_once: Annotated[int, Range(1), Flag("Requests at once.")] = 256
    at_once_per_key: Annotated[int, Range(1), Flag("Of these, with one key.")] = 128
    tokens_per_minute: Annotated[int | None, Range(1), Flag("Sampled for one key.")] = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise BadInput(f"limits: {name} must be more than 0, got {value}. Raise it or leave it out.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A gateway: the policy that it applies, what it offers besides, and its limits."""

    policy: Policy = field(default_factory=Full)  # for requests that do not name one
    offers: Mapping[str, Policy] = field(default_factory=dict)  # further policies that a request may name
    reasoning: Annotated[ReasoningField, Flag("What the thinking is called in messages.")] = "reasoning"
    shadow: Annotated[bool, Flag("Answer untouched; say what the rule would save.")] = False
    control: Annotated[float, Range(0, 1), Flag("Share of requests without a rule, to measure savings.")] = 0.0
    promise: Promise | None = None  # what `satisfice recommend` promised of the policy, which is then watched
    on_broken_promise: Annotated[
        OnBroken, Flag("When the promise of a config file is broken: warn, or answer in full.")
    ] = "warn"
    keep_for_calibration: Annotated[
        int, Range(0), Flag("Keep so many questions for `satisfice recommend`, redacted.")
    ] = 0
    kept_file: Annotated[str, Flag("Where they are kept.")] = "kept.jsonl"
    kept_days: Annotated[int, Range(1), Flag("And for how long.")] = 30
    keys: tuple[str, ...] = ()  # a request must carry one of these; none: whoever reaches the server may use it
    passed: Annotated[
        tuple[str, ...], Flag("A path of the upstream that is passed through: /v1/rerank.", name="pass")
    ] = ()
    limits: Limits = field(default_factory=Limits)
    keep_alive_s: Annotated[
        float, Range(0), Flag("A stream that has nothing to say sends a comment this often (seconds).")
    ] = 10.0
    slow_s: Annotated[float, Range(0), Flag("Disconnect clients that read nothing for so long (seconds).")] = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.control < 1:
            raise BadInput(f"control must be a share from 0 to below 1, got {self.control}.")
        if self.shadow and self.control:
            raise BadInput("shadow and control both measure what a rule saves. Give one of them.")
        if self.keep_for_calibration < 0 or self.kept_days < 1:
            raise BadInput("keep-for-calibration is a number of questions from 0, and kept-days at least 1.")
        if self.on_broken_promise not in get_args(OnBroken):
            raise BadInput(f"on-broken-promise must be warn or full, got {self.on_broken_promise!r}.")
        if not all(self.keys):
            raise BadInput("a key must not be empty. Check the environment variable that holds the keys.")
        for path in self.passed:
            if not path.startswith("/") or ".." in path or "{" in path:
                raise BadInput(f"pass: a path begins with / and holds neither .. nor braces, got {path!r}.")


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where a gateway listens and what it is called: read at its start alone."""

    host: Annotated[str, Flag("Address to listen at. Default: this machine only.")] = "127.0.0.1"
    port: Annotated[int, Range(0, 65_535), Flag("Port to listen at; 0: any that is free.")] = 8080
    name: Annotated[str | None, Flag("What the model is called. Default: its own name.")] = None
    api_key_env: Annotated[
        str | None, Flag("Variable with the keys, commas between them, that requests must carry.")
    ] = None
    upstream_key_env: Annotated[str, Flag("Variable with the key for the upstream.")] = "SATISFICE_API_KEY"
    drain_s: Annotated[int, Range(0), Flag("Time for running requests when the server is stopped.")] = 30
    log_requests: Annotated[bool, Flag("One line per request; never its text.")] = False
    log_format: Annotated[Literal["text", "json"], Flag("Lines of text, or one JSON object per line.")] = "text"
    traces: Annotated[bool, Flag("Spans by OpenTelemetry; OTEL_* variables say where they go.")] = False
