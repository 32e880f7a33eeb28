"""What a truncation filter is, and several of them with the temperature at its place among them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, runtime_checkable

from satisfice.core.arrays import Array, is_torch, namespace
from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.method import Kind
from satisfice.methods.sampling._arrays import Kept, as_scores, cut, softmax

CHUNK = 1 << 20  # scores that are filtered at once on a CPU: what a cache holds, and what bounds the memory


class Filter(Protocol):
    """A truncation of the next-token distribution: a frozen dataclass whose fields are the filter's parameters.

    Calling it puts -inf where it cuts; `keep` says where it does not. Both take `[batch, vocab]` scores of numpy or
    torch. Nothing that is -inf is ever kept, at least one token always is, and a row does not depend on its neighbours.
    Each class has a function beside it that takes the same parameters, each a number or `[batch]`, one per row.
    """

    card: ClassVar[Card]

    def keep(self, logits: Array, /) -> Array:
        """Return which tokens stay: boolean, `[batch, vocab]`."""
        ...

    def __call__(self, logits: Array, /) -> Array:
        """Return the scores in their own dtype, with -inf for every token that does not stay."""
        ...


FILTER: Kind[Filter] = Kind(
    name="filter",
    protocol=Filter,
    example="top-k:50,min-p(p=0.1)",
    about="A filter is called with next-token scores, `filter(logits)`, and returns them with -inf for each token that "
    "may not be sampled; `keep` says which may.",
    battery="satisfice.testing.filters:check_filter",
)


@runtime_checkable
class Unbound(Protocol):
    """A filter that must be given the model's output matrix first."""

    def bind(self, unembedding: Array, /) -> Filter:
        """Return the filter for a model with this output matrix, `[vocab, d]`."""
        ...


def truncate(find: Callable[[Array], Array | Kept], logits: Array) -> Array:
    """Scores with -inf for what is not found worth keeping; a few rows at a time on a CPU."""
    xp = namespace(logits)
    step = max(1, CHUNK // max(1, logits.shape[-1]))
    if len(logits) <= step or (is_torch(logits) and logits.device.type != "cpu"):
        return _cut(find, logits)
    out = xp.empty_like(logits)
    for begin in range(0, len(logits), step):
        out[begin : begin + step] = _cut(find, logits[begin : begin + step])
    return out


def _cut(find: Callable[[Array], Array | Kept], logits: Array) -> Array:
    found = find(logits)
    return found.cut(logits) if isinstance(found, Kept) else cut(logits, found)


@dataclass(frozen=True, kw_only=True)
class Truncation:
    """Filters one after another, with the temperature at a stated place among them.

    Those `before` the temperature see the model's own distribution, those `after` it the tempered one, and each what
    the one before it left. With all of them after, the order is that of transformers and vLLM; with all before, that of
    llama.cpp. Only top-k and top-n-sigma do not care.

    Engines divide by the temperature first and then call a sampler; so this takes scores that are tempered already.
    For raw logits there is `process`.
    """

    before: tuple[Filter, ...] = ()
    after: tuple[Filter, ...] = ()
    temperature: float = 1.0  # what the scores were divided by

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise BadInput(f"sampler: temperature must be 0 (greedy) or more, got {self.temperature}.")

    @property
    def filters(self) -> tuple[Filter, ...]:
        """All of them in the order in which they apply."""
        return self.before + self.after

    def bound(self, unembedding: Callable[[], Array]) -> "Truncation":
        """Return a copy whose filters have the model's output matrix where they need it."""

        def bind(method: Filter) -> Filter:
            return method.bind(unembedding()) if isinstance(method, Unbound) else method

        return replace(self, before=tuple(map(bind, self.before)), after=tuple(map(bind, self.after)))

    def __call__(self, scores: Array) -> Array:
        """Scores of logits divided by the temperature, `[batch, vocab]`, with -inf where a filter cuts."""
        if self.before:
            raw = scores * self.temperature
            for method in self.before:
                raw = method(raw)
            scores = cut(scores, raw > -math.inf)
        for method in self.after:
            scores = method(scores)
        return scores

    def process(self, logits: Array) -> Array:
        """Raw logits to scores whose softmax is to be sampled; at temperature 0 only the likeliest tokens are left."""
        if self.temperature == 0:
            _, best = as_scores(logits, "sampler")
            return cut(logits, logits >= best)
        return self(logits / self.temperature)


def measure(method: Filter, logits: Array) -> tuple[Array, Array]:
    """Return how many tokens a filter keeps of each row, and the probability that it drops, `[batch]` each.

    The cheapest way to see that a parameter is set wrong.
    """
    scores, best = as_scores(logits, method.card.id)
    keep = method.keep(logits)
    return keep.sum(-1), 1 - (softmax(scores, best) * keep).sum(-1)
