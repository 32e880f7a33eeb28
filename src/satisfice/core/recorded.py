"""Chains that were recorded once, with what the model would have answered on the way, as plain data.

Recordings on disk are read in `satisfice.recordings`; a rule that learns has a `fit` that reads what is here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from satisfice.core.problem import Problem, Verdict
from satisfice.core.profile import Profile
from satisfice.core.span import Ended

Why = Literal["start", "cue", "step", "every", "limit"]
"""Why a checkpoint is where it is: before any thinking, just before a cue, after a step, after every so many tokens, or
where a token limit ended the thinking."""


class RecordedTokens:
    """Sampled tokens and what the model said of each. A slice of it is one too."""

    def __init__(self, records: NDArray[Any]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, part: slice) -> "RecordedTokens":
        return RecordedTokens(self.records[part])

    @property
    def ids(self) -> NDArray[np.int32]:
        """Token ids, `[n]`."""
        return self.records["id"]

    @property
    def logprobs(self) -> NDArray[np.float32] | None:
        """Log-probability of each token, nats, `[n]`; None when it was not recorded."""
        return self._column("logprob")

    @property
    def entropy(self) -> NDArray[np.float32] | None:
        """Entropy of the distribution that each token was drawn from, nats, `[n]`; None when it was not recorded."""
        return self._column("entropy")

    @property
    def top_ids(self) -> NDArray[np.int32] | None:
        """The likeliest tokens at each position, `[n, k]`; None when they were not recorded."""
        return self._column("top_id")

    @property
    def top_logprobs(self) -> NDArray[np.float32] | None:
        """Their log-probabilities, nats, `[n, k]`, likeliest first; None when they were not recorded."""
        return self._column("top_logprob")

    def _column(self, name: str) -> NDArray[Any] | None:
        return self.records[name] if name in (self.records.dtype.names or ()) else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Reply:
    """What a copy of the chain said at a checkpoint after one of the texts that were put to it."""

    tokens: RecordedTokens
    text: str  # without the end of the turn
    complete: bool  # it ended its turn; False: the token limit of replies cut it
    answer: str | None  # as read from the text: strictly for visible answers, as a trial answer for the others
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A place in the thinking where copies of the chain were asked for their answer."""

    at: int  # tokens of thinking before it
    why: frozenset[Why]
    cue: str  # the cue that comes next; "" when none does
    replies: Mapping[str, Reply]  # by the name of what was asked
    hidden: Mapping[int, NDArray[np.float32]]
    """Layer -> `[2, width]`: the state that predicts the next token here, and the state at the cue's last token as a
    rule that looks there sees it (the same as the first where there is no cue). Empty when no layers were recorded, or
    the chain ends here."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedChain:
    """One chain to its natural end, with its checkpoints in the order in which it came by them."""

    problem: Problem
    seed: int
    name: str  # number of the chain within its session: "0", "1", ...
    prompt: tuple[int, ...]
    tokens: RecordedTokens  # all that it sampled: thinking, closing tag, visible answer, end of the turn
    thinking: int  # of these, tokens before the closing tag
    ended: Ended  # model, limit or turn
    checkpoints: tuple[Checkpoint, ...]
    pieces: tuple[str, ...]  # text of each token; a character that spans tokens shows as replacement characters
    text: str
    answer: str | None  # strict reading of the visible answer; after a token limit, of the forced one
    verdict: Verdict
    hidden: Mapping[int, NDArray[np.float32]]
    """Layer -> `[n, width]`: the states that predict its first n tokens, as many as were kept of each chain."""


class Records(Protocol):
    """Recorded chains of one model."""

    @property
    def folder(self) -> Path:
        """Where they lie, for messages."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers whose hidden states were recorded; -1 is the last."""

    @property
    def profile(self) -> Profile:
        """The words of the model."""

    def decode(self, ids: Sequence[int], /) -> str:
        """Return the text of tokens."""

    def chains(self) -> Iterator[RecordedChain]:
        """Yield the chains, one after another, in the order in which they were recorded."""
