"""What one method alone adds to the loss of a trainer.

Clipping, divergence, entropy bonus and averaging are options of `Loss` that every trainer adapter knows. Anything else
is a term: a frozen dataclass in the method's own file, pure over numpy or torch, that `Loss.terms` carries to the
trainer. Adapters call it and know none by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from satisfice.core.arrays import Array


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Some rollouts of a batch, token by token: arrays of shape [b, T]; log-probabilities and entropies in nats.

    The shares say how much each token weighs in an average over the whole batch: over all its parts they sum to about
    one, so that the losses of parts simply add up. What stands where `mask` is false means nothing.
    """

    logprob: Array  # with gradient
    old_logprob: Array  # under the policy that sampled
    mask: Array  # a token of the policy
    advantage: Array
    share: Array  # of the policy loss: `Loss.share` times the shaper's weight
    plain_share: Array  # of the divergence: without the weight
    entropy: Array | None = None  # with gradient
    entropy_share: Array | None = None  # of the entropy bonus: times the shaper's entropy weight
    reference: Array | None = None  # log-probabilities under the reference policy
    value: Array | None = None  # of a value head, with gradient
    brief: Array | None = None  # [b] log-probability, with gradient, of the token that skips thinking
    columns: Mapping[str, Array] = field(default_factory=dict)  # `Shaped.columns` of these rows, [b] or [b, T]


OF_TRAINERS = frozenset({"entropy", "entropy_share", "reference", "value", "brief"})
"""The optional fields of `Tokens`: what a term reads beyond them are columns."""


@dataclass(frozen=True, kw_only=True)
class PolicyLoss:
    """The policy loss before it is averaged."""

    each: Array  # [b, T] loss of each token
    change: Array  # [b, T] log rho, 0 where there is no token; [b, 1] where the ratio is a sequence's
    clipped: Array  # [b, T] tokens whose ratio is clipped, so that they have no gradient


@dataclass(frozen=True, kw_only=True)
class Added:
    """What a term makes of the loss."""

    each: Array | None = None  # [b, T] takes the place of `PolicyLoss.each`; None: it stays
    total: Array | float = 0.0  # a number that is added to the loss of this part of the batch
    metrics: Mapping[str, float] = field(default_factory=dict)  # to log


class LossTerm(Protocol):
    """A term of the loss: a frozen dataclass, called with a part of the batch; terms are applied in their order."""

    @property
    def reads(self) -> frozenset[str]:
        """Names of what it needs beyond the required fields of `Tokens`: optional fields, and columns."""

    def __call__(self, part: Tokens, policy: PolicyLoss, /) -> Added: ...
