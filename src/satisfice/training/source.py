"""Where rollouts come from, as a trainer sees it, and which columns its batches have."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from satisfice.core.problem import Problem
from satisfice.core.shaper import Shaper, State, asking
from satisfice.core.steering import Steering
from satisfice.training.rollout import SAID, Ask, AskGroup, Rollout
from satisfice.training.segments import Growing

_ITS_OWN = frozenset({"ids", "mask", "segment", "logprob", "reference_logprob", "entropy", "prompt", "value"})
"""Columns that the trainer itself makes of the rollouts."""


def made_for(shaper: Shaper) -> frozenset[str]:
    """Return columns that there are in a training with this shaper, beside those of the problems."""
    steered = shaper.makes if isinstance(shaper, Steering) else frozenset()
    asked = asking(shaper)
    return SAID | _ITS_OWN | steered | (frozenset() if asked is None else {asked.asks})


class Source(Protocol):
    """Where rollouts come from."""

    steers: bool  # it can make the groups of a steering shaper, and let rollouts grow

    @property
    def brief_token(self) -> int:
        """The first token of what makes the model answer without thinking."""
        ...

    def prompt(self, problem: Problem) -> tuple[int, ...]:
        """Token ids of a problem's prompt."""
        ...

    def sample(self, asks: Sequence[Ask]) -> list[Rollout]:
        """Answer each ask with the weights as they are now."""
        ...

    def cut(self, rollout: Rollout, length: int) -> Rollout:
        """Return the first tokens of a rollout, verified again."""
        ...

    def steer(self, asks: Sequence[AskGroup], shaper: Steering, state: State) -> list[Rollout]:
        """Return groups as a steering shaper makes them."""
        ...

    def grow(self, rows: Sequence[Growing], problems: Mapping[str, Problem], segment: int) -> list[Growing]:
        """Let rollouts on their way grow by a segment."""
        ...

    def grown(self, rows: Sequence[Growing], problems: Mapping[str, Problem]) -> list[Rollout]:
        """Return what a step trains on of them."""
        ...

    def update(self, model: Any) -> None:
        """Take the weights of the model that is trained; called before each batch."""
        ...
