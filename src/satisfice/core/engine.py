"""The contract between policies and whatever produces tokens.

An `Engine` opens a `Sequence` (a prompt, tokenised once); a sequence is forked, extended, cut back and sampled.
Engines take and return token ids; nothing is ever tokenised twice. Sampling returns when a stop condition holds, so a
coroutine wakes at cues, not at every token. `satisfice.testing.check_engine` holds an engine against all of this.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Values
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from satisfice.core.card import Need
from satisfice.core.profile import Profile

StopReason = Literal["token", "text", "signal", "length", "budget", "cancelled"]
"""Why a call of `sample` ended. `budget` is the session's word: an engine says `length` when it reaches `limit`."""


CONFIDENCE_OF = 20
"""Likeliest tokens that the signal `confidence` is defined over."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Stop when the mean of a signal over the last `window` sampled tokens crosses a line.

    `logprob` is the chosen token's log-probability, `entropy` that of the next-token distribution, `confidence` minus
    the mean log-probability of the 20 likeliest tokens (DeepConf's C_i); all in nats.
    """

    signal: Literal["logprob", "entropy", "confidence"]
    below: float | None = None
    above: float | None = None
    window: int = 1

    def crossed(self, values: list[float]) -> bool:
        """Return whether the mean of the last `window` values is beyond the line; never with fewer values."""
        return len(values) >= self.window and bool(self.beyond(self.mean(values)))

    def mean(self, values: Values[float]) -> float:
        """Return the mean of the last `window` values, NaN of fewer."""
        return sum(values[-self.window :]) / self.window if len(values) >= self.window else math.nan

    def beyond(self, mean: Any) -> Any:
        """Return whether a mean is beyond the line; of an array of means, for each. NaN is not."""
        low = mean < (-math.inf if self.below is None else self.below)
        return low | (mean > (math.inf if self.above is None else self.above))

    def crossing(self, values: list[float]) -> int | None:
        """Return the first place at which `crossed` holds when values come one by one.

        >>> Watch(signal="logprob", below=-1.0, window=2).crossing([0.0, -1.5, -1.0, 0.0])
        2
        """
        ends = range(self.window, len(values) + 1)
        return next((end - 1 for end in ends if self.crossed(values[end - self.window : end])), None)


@dataclass(frozen=True, kw_only=True)
class Signals:
    """Which per-token signals `sample` returns. Whatever is not asked for is not computed."""

    logprobs: bool = False
    top_logprobs: int = 0  # how many of the likeliest tokens
    entropy: bool = False
    hidden: tuple[int, ...] = ()  # layers; 0 is the embedding output, -1 the last block

    @property
    def needs(self) -> frozenset[Need]:
        """What an engine must provide to answer this."""
        wanted = {
            Need.LOGPROBS: self.logprobs,
            Need.TOP_LOGPROBS: self.top_logprobs > 0,
            Need.ENTROPY: self.entropy,
            Need.HIDDEN: bool(self.hidden),
        }
        return frozenset(need for need, asked in wanted.items() if asked)

    def __or__(self, other: "Signals") -> "Signals":
        """Return what either asks for."""
        return Signals(
            logprobs=self.logprobs or other.logprobs,
            top_logprobs=max(self.top_logprobs, other.top_logprobs),
            entropy=self.entropy or other.entropy,
            hidden=tuple(dict.fromkeys((*self.hidden, *other.hidden))),
        )


class Sampler(Protocol):
    """A truncation of the next-token distribution: `[rows, vocab]` scores in, the same shape out, -inf where cut."""

    def __call__(self, logits: Any, /) -> Any: ...


@dataclass(frozen=True)
class Both:
    """One sampler, and another over what it leaves."""

    first: Sampler
    second: Sampler

    def __call__(self, logits: Any, /) -> Any:
        return self.second(self.first(logits))


def both(first: Sampler | None, second: Sampler | None) -> Sampler | None:
    """Return two samplers in their order, where there are two."""
    if first is None or second is None:
        return second if first is None else first
    return Both(first, second)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call of `Sequence.sample`.

    The random number for position `p` depends on (`key`, `p`) alone, so the same request gives the same tokens
    whatever else the engine is doing.
    """

    limit: int  # tokens
    stop_ids: frozenset[int] = frozenset()  # sampling one of these ends the call; the token stays
    stop_texts: tuple[str, ...] = ()  # the call ends when one appears; `Sampled.cut` is where it begins
    match_from: int | None = None  # a stop text may begin at this position or later; default: the sequence's length
    watch: Watch | None = None
    watched: Values[float] = ()  # values of the watched signal at the tokens before this call that count as well
    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    bias: Mapping[int, float] = field(default_factory=dict)  # added to the scores of these tokens
    options: Mapping[str, Any] | None = None
    """Sampling settings by a server's names, in place of `temperature` and `top_p`; what it does not name stays the
    server's own. With a `seed` among them each call is sent one that is made of `key` and position. For engines that
    hand requests to a server; the others do not read it."""
    sampler: Sampler | None = None
    key: int = 0
    signals: Signals = Signals()
    thinking_budget: int | None = None  # tokens of thinking in all, after which the engine itself puts its end
    urgent: bool = False  # a fork that a chain waits for: goes before new prompts
    on_tokens: Callable[[], None] | None = (
        None  # called in the event loop when tokens have come, where they come singly
    )


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """What one call of `Sequence.sample` added to its sequence."""

    ids: tuple[int, ...]
    reason: StopReason
    cut: int  # position in the sequence where the stop text begins; for other reasons the sequence's length
    match: str = ""  # the stop text that was found
    prefilled: int = 0  # tokens computed again because their cache had been lost
    watched: tuple[float, ...] = ()  # the last values of the watched signal, a window of them at most
    logprobs: NDArray[np.float32] | None = None  # [n] nats
    top_logprobs: NDArray[np.float32] | None = None  # [n, k] nats, likeliest first
    top_ids: NDArray[np.int64] | None = None  # [n, k]
    entropy: NDArray[np.float32] | None = None  # [n] nats
    hidden: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)  # layer -> [n, d], the state that predicts


def joined(parts: list[Sampled], length: int) -> Sampled:
    """Return one record for a call that was served in several leases."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Sampled(ids=(), reason="length", cut=length)

    def column(name: str) -> Any:
        found = [value for part in parts if (value := getattr(part, name)) is not None]
        return np.concatenate(found) if found else None

    layers = {layer for part in parts for layer in part.hidden}
    return Sampled(
        ids=tuple(i for part in parts for i in part.ids), reason=parts[-1].reason, cut=parts[-1].cut,
        match=parts[-1].match, prefilled=sum(part.prefilled for part in parts), watched=parts[-1].watched,
        logprobs=column("logprobs"), top_logprobs=column("top_logprobs"), top_ids=column("top_ids"),
        entropy=column("entropy"),
        hidden={n: np.concatenate([part.hidden[n] for part in parts if n in part.hidden]) for n in layers},
    )  # fmt: skip


class Sequence(Protocol):
    """A growing list of token ids inside an engine."""

    @property
    def ids(self) -> list[int]:
        """All tokens so far, prompt included. Read only."""
        ...

    def fork(self, length: int) -> "Sequence":
        """Return a new sequence that begins with the first `length` tokens of this one; costs no forward pass.

        `BadInput` where this one has no such place.
        """
        ...

    def extend(self, ids: list[int]) -> None:
        """Append tokens that the model did not sample."""
        ...

    def cut(self, length: int) -> None:
        """Forget everything after the first `length` tokens; `BadInput` where there is no such place."""
        ...

    async def sample(self, request: Request) -> Sampled:
        """Append sampled tokens until the request's stop condition holds.

        With a limit of 0, or on a sequence that is as long as may be, it returns at once: no tokens, `length`.

        Raises:
            BadInput: the request has no meaning, or the sequence holds no token to go on from.
            EngineError: the engine does not provide what is asked for, or failed.

        When the caller is cancelled the engine stops within one decode step; the tokens sampled until then are on the
        sequence, and `last` describes them, before `CancelledError` goes on.
        """
        ...

    @property
    def last(self) -> Sampled | None:
        """What the latest `sample` added, cancelled or not."""
        ...

    def close(self) -> None:
        """Free whatever the engine holds for this sequence. Idempotent."""
        ...


class Engine(Protocol):
    """Where tokens come from. Use it as an async context manager."""

    @property
    def name(self) -> str: ...

    @property
    def provides(self) -> frozenset[Need]: ...

    @property
    def profile(self) -> Profile: ...

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end the model's turn."""
        ...

    @property
    def max_length(self) -> int:
        """Longest sequence, prompt included, in tokens."""
        ...

    @property
    def upstream(self) -> "Upstream | None":
        """The server that computes, for requests that are none of ours to answer; None in this process."""
        ...

    def open(self, question: str, label: str) -> Sequence:
        """Return a sequence with the question in the model's chat form and thinking open: `open_prompt` of `render`.

        `label` names the problem in recordings and errors.
        """
        ...

    def open_prompt(self, prompt: str | list[int], label: str) -> Sequence:
        """Return a sequence with a whole prompt, as text or as tokens, as the model is to read it.

        `BadInput` when it is empty or leaves no room for an answer.
        """
        ...

    def render(self, question: str) -> str:
        """Return the question in the model's chat form, with thinking open."""
        ...

    async def render_chat(self, messages: list[dict[str, Any]], variables: Mapping[str, Any] | None = None) -> str:
        """Return a conversation in the model's chat form; a server may have to be asked for it.

        Thinking is open unless the `variables` of the template switch it off. `BadInput` where that form is not known
        for more than a question, or does not take these messages.
        """
        ...

    def unembedding(self) -> NDArray[np.float32]:
        """Return the output matrix, `[vocab, d]`; `Unfit` where there is none to be had."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return tokens of a piece of text that will be appended (no special tokens are added)."""
        ...

    def decode(self, ids: list[int]) -> str:
        """Return text of tokens, special ones included."""
        ...

    def piece(self, token: int) -> bytes:
        """Return the bytes that one token adds to a text; of a character that spans tokens it may be a part."""
        ...

    def describe(self) -> dict[str, Any]:
        """Identity for result files: engine, model, precision, device, versions."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Upstream(Protocol):
    """A server behind an engine."""

    @property
    def model(self) -> str:
        """What the server calls its model."""
        ...

    def ask(
        self, path: str, body: Mapping[str, Any] | None, *, seconds: float | None = None
    ) -> AbstractAsyncContextManager[Any]:
        """Give aiohttp's response to a request, as it comes. `path` begins with a slash; without a body it is a GET.

        Where the body names a model it becomes the server's own. `EngineError` when it does not answer, breaks off
        while the block runs, or takes more than `seconds`.
        """
        ...


def random_key(*parts: object) -> int:
    """Return a 64-bit key for the random numbers of one chain, from seed, problem and the chain's path of forks."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
