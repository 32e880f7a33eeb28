"""Shapers that take part in the sampling: what chains a group is made of, and how far a rollout grows in one step."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from satisfice.core.chain import Chain
from satisfice.core.session import Session
from satisfice.core.shaper import State

Right = Callable[[Chain], Awaitable[bool]]
"""Whether the answer of a finished chain is right; one whose verdict is unknown is not."""


@dataclass(frozen=True, kw_only=True)
class Rolled:
    """A rollout that a steering shaper made: a chain of the session, and what only the shaper knows of it."""

    chain: Chain
    columns: Mapping[str, float] = field(default_factory=dict)  # those that the shaper says it makes
    mask: tuple[bool, ...] | None = None  # tokens after the prompt that the loss counts; None: those that were sampled


@runtime_checkable
class Steering(Protocol):
    """A shaper that decides while it samples.

    It makes the `size` rollouts of one prompt out of chains, in a session that is open, and may have answers judged on
    the way. The trainer reads the chains before it closes the session; what other chains sampled counts as spent.
    """

    makes: frozenset[str]  # columns that its rollouts bring along

    async def roll(self, session: Session, size: int, right: Right, state: State, /) -> Sequence[Rolled]: ...


@runtime_checkable
class Segmented(Protocol):
    """A shaper whose rollouts grow by at most `segment` tokens in a step and go on in the next, under newer weights.

    With `whole_groups` a rollout is trained on once its whole group has ended; without, each step trains on what every
    rollout has grown by.
    """

    whole_groups: bool

    @property
    def segment(self) -> int:
        """Tokens."""
        ...


@runtime_checkable
class Replaying(Protocol):
    """A shaper that has the trainer go on training on rollouts of earlier steps.

    `replay` gives what is remembered (`prompt`, its lasting name; `ids`; `logprob` as it was sampled with) with an
    advantage as of now, `imitation` how much their loss weighs beside the batch's.
    """

    def replay(self, state: State, /) -> Sequence[tuple[Mapping[str, Any], float]]: ...

    def imitation(self, state: State, /) -> float: ...


def sampled_tokens(chain: Chain, *, by: str | None = None) -> tuple[bool, ...]:
    """Return which of the tokens after the prompt the model sampled: on any chain, or on the one of that name."""
    return tuple(
        span.kind == "sampled" and by in (None, span.by)
        for span in chain.spans
        if span.kind != "prompt"
        for _ in span.ids
    )
