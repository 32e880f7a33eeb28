"""What a method says about itself: where it comes from, what it needs, how faithful it is."""

import enum
from dataclasses import dataclass
from typing import Literal, get_args

Fidelity = Literal["code", "paper", "second-hand", "reconstructed", "standard"]


class Need(enum.StrEnum):
    """What a method asks of an engine, and what an engine says that it provides."""

    FORK = "fork"  # continue a copy of a chain without touching the original
    INJECT = "inject"  # put text into a chain that the model did not sample
    ABORT = "abort"  # stop a running chain within one decode step
    LOGPROBS = "logprobs"  # log-probability of each sampled token: the model's own, before temperature and filters
    TOP_LOGPROBS = "top-logprobs"  # the same for the k likeliest tokens at each position
    ENTROPY = "entropy"  # entropy of the whole next-token distribution, in nats
    HIDDEN = "hidden"  # hidden states of named layers at sampled positions
    LOGITS = "logits"  # change next-token scores: bias, suppress, sampler
    BUDGET = "budget"  # end the thinking by itself after so many tokens
    RENDER = "render"  # put a conversation into the model's chat form
    UNEMBEDDING = "unembedding"  # the output matrix, which turns the last hidden state into scores


@dataclass(frozen=True, kw_only=True)
class Card:
    """The identity of a method.

    `id` is its name in the catalogue and on the command line. `system` is the published system it answers to (None for
    a plain baseline). `fidelity` says where its formula comes from: the authors' `code`, the `paper` text, a
    `second-hand` digest, `reconstructed` by us, or `standard` practice that no single paper owns. `ours` lists the
    fields whose default the source does not give. `reads` are the columns of a batch of rollouts that a shaper cannot
    do without, beyond those that every batch has.
    """

    id: str
    paper: str  # "arXiv:2504.15895"; "" for standard practice
    where: str  # section, equation or algorithm
    needs: frozenset[Need]
    fidelity: Fidelity
    system: str | None = None
    ours: tuple[str, ...] = ()
    reads: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.fidelity not in get_args(Fidelity):
            raise ValueError(f"Card {self.id}: fidelity must be one of {get_args(Fidelity)}, got {self.fidelity!r}")
