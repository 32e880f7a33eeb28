"""What the person who runs a gateway decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from satisfice.core.errors import BadInput
from satisfice.core.session import Policy
from satisfice.methods.stopping.full import Full

ReasoningField = Literal["reasoning", "reasoning_content", "both"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one request, or one key, may take."""

    tokens: int | None = None  # longest chain; none: the model's own
    chains: int = 64  # chains that a policy starts
    spend: int = 1 << 20  # tokens sampled for one request, over all chains
    seconds: float = 600.0  # then the thinking is closed, and the answer has `answer_seconds`
    answer_seconds: float = 30.0
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
    """A gateway: the rule that it applies, what it offers besides, and its limits."""

    policy: Policy = field(default_factory=Full)  # for requests that do not say
    offers: Mapping[str, Policy] = field(default_factory=dict)  # further policies that a request may name
    reasoning: ReasoningField = "reasoning"  # how the thinking is called in messages
    shadow: bool = False  # requests run untouched, and the rule runs beside them to say what it would have saved
    control: float = 0.0  # share of requests that run without a rule, to measure what rules save
    keys: tuple[str, ...] = ()  # a request must carry one of these; none: whoever reaches the server may use it
    limits: Limits = field(default_factory=Limits)
    keep_alive_s: float = 10.0  # a stream that has nothing to say sends a comment so often
    slow_s: float = 60.0  # a client that takes nothing for so long is hung up on

    def __post_init__(self) -> None:
        if not 0 <= self.control < 1:
            raise BadInput(f"control must be a share from 0 to below 1, got {self.control}.")
        if self.shadow and self.control:
            raise BadInput("shadow and control both measure what a rule saves. Give one of them.")
        if not all(self.keys):
            raise BadInput("a key must not be empty. Check the environment variable that holds the keys.")
