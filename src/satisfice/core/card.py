"""What a method says about itself: where it comes from, what it needs, how faithful it is."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
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


MEANING: Mapping[Need, str] = {
    Need.FORK: "copies of a chain",
    Need.INJECT: "text put into a chain",
    Need.ABORT: "stopping a running chain",
    Need.LOGPROBS: "log-probabilities of sampled tokens",
    Need.TOP_LOGPROBS: "log-probabilities of the likeliest tokens",
    Need.ENTROPY: "the entropy of the next-token distribution",
    Need.HIDDEN: "hidden states",
    Need.LOGITS: "changes to next-token scores",
    Need.BUDGET: "a thinking budget of its own",
    Need.RENDER: "the model's chat form",
    Need.UNEMBEDDING: "the output matrix of the model",
}

Host = Literal["engine", "trainer", "model", "data"]
"""Who can give a method what it asks for."""


@dataclass(frozen=True)
class Requirement:
    """One thing that a method cannot do without. A method may declare its own, beside those that others share."""

    name: str
    means: str = field(compare=False)  # as it is told: "hidden states", "tokens that the prompt asked for"
    host: Host = "data"


@dataclass(frozen=True, kw_only=True)
class Card:
    """The identity of a method.

    `id` is its name in the catalogue and on the command line. `system` is the published system it answers to (None for
    a plain baseline). `fidelity` says where its formula comes from: the authors' `code`, the `paper` text, a
    `second-hand` digest, `reconstructed` by us, or `standard` practice that no single paper owns. `ours` lists the
    fields whose default the source does not give. `needs` is what it asks of an engine in the engine's own words;
    `requires` is what else it cannot do without: of the data (columns of rollouts, say), the trainer, the architecture
    of the model. What is `optional` is used where it is there.
    """

    id: str
    paper: str  # "arXiv:2504.15895"; "" for standard practice
    where: str  # section, equation or algorithm
    needs: frozenset[Need]
    fidelity: Fidelity
    system: str | None = None
    ours: tuple[str, ...] = ()
    requires: frozenset[Requirement] = frozenset()
    optional: frozenset[Requirement] = frozenset()

    def __post_init__(self) -> None:
        if self.fidelity not in get_args(Fidelity):
            raise ValueError(f"Card {self.id}: fidelity must be one of {get_args(Fidelity)}, got {self.fidelity!r}")

    def asks(self, host: Host) -> frozenset[Requirement]:
        """Return what the method asks of one host."""
        of_engine = {Requirement(need.value, MEANING[need], "engine") for need in self.needs}
        return frozenset(one for one in self.requires | of_engine if one.host == host)
