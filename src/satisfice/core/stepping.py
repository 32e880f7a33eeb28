"""Rules that need only what a sampler sees: the tokens so far, and the scores of the next one.

Such a rule has a pure `step`, asked for all chains of a batch at once before each draws its next token. Where somebody
else samples (vLLM, SGLang, `generate` of transformers) it is asked there, without a request per look. As a policy the
same rule is asked only where its answer may change: it says so itself, by `hold`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from satisfice.core.card import Card
from satisfice.core.engine import Sampler, Watch
from satisfice.core.profile import Profile

Place = Literal["token", "step", "cue"]
"""Where a rule may stop a chain: before any token, after the delimiter of a step, or before a cue."""

Array: TypeAlias = Any
"""A `numpy.ndarray` or a `torch.Tensor`; shapes are in the comments."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Chains that think, one in each row, each before its next token.

    A rule that stops at cues is asked what it would do if a cue came now: `cues` counts that one.
    """

    thought: NDArray[np.int64]  # [rows] tokens of thinking so far
    cues: NDArray[np.int64]  # [rows] the number of the cue, 1 for the first
    keys: Sequence[int]  # [rows] where a chain's random numbers begin (`random_key`)
    tokens: Sequence[Sequence[int]]  # [rows] the thinking so far
    mean: Array | None = None  # [rows] of the watched signal over its window, in nats; NaN while that is not full
    ends: Array | None = None  # [rows] probability that the next token ends the thinking, of the likeliest tokens
    doubts: Array | None = None  # [rows] probability that it is a cue, likewise
    scores: Array | None = None  # [rows, vocab] raw scores of the next token; None where a policy asks
    targets: tuple[int, ...] = ()  # the rule's own


@dataclass(frozen=True, kw_only=True)
class Move:
    """What a rule wants for each row: close the thinking, or go on with some scores changed."""

    close: Array  # [rows] bool
    value: Array  # [rows] what it measured, for people
    bias: Array | None = None  # [rows, targets] added to the scores of the rule's `targets`


@dataclass(frozen=True, kw_only=True)
class Hold:
    """What must happen to a chain before a rule's answer may change: so many tokens, a place, or a signal."""

    tokens: int | None = None
    place: Place = "token"  # it pauses there too; "token" is no such place
    watch: Watch | None = None
    sampler: Sampler | None = None  # in place of a bias that depends on all scores
    masses: bool = False  # `ends` and `doubts` are looked at


@runtime_checkable
class Stepping(Protocol):
    """A policy that is derived from a pure step; see `methods/stopping/stepwise.py` for the derivation."""

    card: ClassVar[Card]
    measure: ClassVar[str]  # what `Move.value` is: "cue"

    @property
    def at(self) -> Place:
        """Where it may stop a chain."""
        ...

    @property
    def line(self) -> float | None:
        """What the measure is held against, where there is such a line."""
        ...

    def step(self, rows: Rows, /) -> Move:
        """Return what to do with each row; a row's answer does not depend on its neighbours."""
        ...

    def hold(self, thought: int, targets: tuple[int, ...], /) -> Hold:
        """Return what must happen to a chain with so many tokens of thinking before `step` may say anything else.

        `targets` are the rule's own, where it changes scores.
        """
        ...


@runtime_checkable
class Biased(Protocol):
    """A stepping rule that changes scores."""

    def targets(self, words: "Vocabulary", /) -> tuple[int, ...]:
        """Return the tokens whose scores it changes; `Unfit` where the model has none of them."""
        ...


class Vocabulary(Protocol):
    """What a rule may ask about a model's tokens."""

    @property
    def profile(self) -> Profile: ...

    def encode(self, text: str) -> list[int]: ...


def asked(
    rule: Stepping, *, thought: int, cue: int = 1, key: int = 0, tokens: Sequence[int] = (),
    targets: tuple[int, ...] = (), **seen: float,
) -> Move:  # fmt: skip
    """Ask a rule about one chain; `seen` are the signals of `Rows`, a number each."""
    columns: dict[str, Any] = {name: np.array([value]) for name, value in seen.items()}
    rows = Rows(
        thought=np.array([thought]), cues=np.array([cue]), keys=[key], tokens=[tokens], targets=targets, **columns
    )
    return rule.step(rows)
