"""What the person who runs a gateway decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from satisfice.core.errors import BadInput
from satisfice.core.session import Policy
from satisfice.gateway.promise import OnBroken, Promise
from satisfice.methods.stopping.full import Full

ReasoningField = Literal["reasoning", "reasoning_content", "both"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one request, or one key, may take."""

    tokens: int | None = None  # longest chain; none: the model's own
    chains: int = 64  # chains that a request starts, over all its choices
    spend: int = 1 << 20  # tokens sampled for one choice, over all its chains
    seconds: float = 600.0  # then the thinking is closed, and the answer has `answer_seconds`
    answer_seconds: float = 30.0
    answer_loop: int | None = 2000  # characters of an answer that repeat one passage, after which it ends; none: never
    passed_seconds: float = 3600.0  # for a request that is passed through, in all
    body: int = 1 << 20  # bytes
    at_once: int = 256  # requests that run
    at_once_per_key: int = 128
    tokens_per_minute: int | None = None  # sampled for one key

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise BadInput(f"limits: {name} must be more than 0, got {value}. Raise it or leave it out.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A gateway: the policy that it applies, what it offers besides, and its limits."""

    policy: Policy = field(default_factory=Full)  # for requests that do not name one
    offers: Mapping[str, Policy] = field(default_factory=dict)  # further policies that a request may name
    reasoning: ReasoningField = "reasoning"  # how the thinking is called in messages
    shadow: bool = False  # requests run without a rule, and the rule runs beside them to say what it would have saved
    control: float = 0.0  # share of requests that run without a rule, to measure what rules save
    promise: Promise | None = None  # what `satisfice recommend` promised of the policy, which is then watched
    on_broken_promise: OnBroken = "warn"  # full: requests are answered in full once the promise is broken
    keep_for_calibration: int = 0  # questions that are kept for `satisfice recommend`, redacted
    kept_file: str = "kept.jsonl"  # where
    kept_days: int = 30  # how long
    keys: tuple[str, ...] = ()  # a request must carry one of these; none: whoever reaches the server may use it
    passed: tuple[str, ...] = ()  # further paths of the upstream that are passed through, such as /v1/rerank
    limits: Limits = field(default_factory=Limits)
    keep_alive_s: float = 10.0  # a stream that has nothing to say sends a comment so often
    slow_s: float = 60.0  # clients that read nothing for this long are disconnected

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
