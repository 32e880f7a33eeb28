"""Where rollouts come from, as a trainer sees it, and which columns its batches have."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from satisfice.core import trainer
from satisfice.core.problem import Problem
from satisfice.core.shaper import Shaper, State, asking
from satisfice.core.steering import Steering
from satisfice.core.trainer import require_trainer
from satisfice.training.rollout import SAID, Ask, AskGroup, Rollout
from satisfice.training.segments import Growing

_ITS_OWN = frozenset({"ids", "mask", "segment", "logprob", "reference_logprob", "entropy", "prompt", "value"})
"""Columns that the trainer itself makes of the rollouts."""


def made_for(shaper: Shaper) -> frozenset[str]:
    """Return columns that there are in a training with this shaper, beside those of the problems."""
    steered = shaper.makes if isinstance(shaper, Steering) else frozenset()
    asked = asking(shaper)
    return SAID | _ITS_OWN | steered | (frozenset() if asked is None else {asked.asks})


TRL = frozenset(
    {trainer.BRIEF, trainer.CAPS, trainer.COLUMNS, trainer.CUTS, trainer.ENTROPY_WEIGHTS, trainer.KL_IN_REWARD,
     trainer.MONITORS, trainer.REFRESH, trainer.REMEMBERS, trainer.REPLAYS, trainer.SEGMENTS, trainer.STATES,
     trainer.STEERS, trainer.TOP_ENTROPY, trainer.VALUES}
)  # fmt: skip
"""What our trainer on TRL gives a shaper, when our engine samples, a batch has one update, and one process runs."""


def check_trl(shaper: Shaper, *, steers: bool = True, updates: int = 1, processes: int = 1) -> None:
    """Raise `Unfit` when a shaper asks for something that a training with TRL cannot do in this setting.

    `steers` says whether the source of rollouts can make what a shaper asks for while it samples.
    """
    for holds, name, lacks, way_out in (
        (True, "TRL", (), "Choose another method."),
        (not steers, "TRL without our own engine", (trainer.STEERS, trainer.SEGMENTS), "Set --rollouts local."),
        (updates > 1, "a training with several updates per batch", (trainer.REFRESH,), "Have one update per batch."),
        (processes > 1, "a training on several processes", (trainer.SEGMENTS,), "Run one process."),
    ):
        if holds:
            require_trainer(shaper, name, TRL.difference(lacks), way_out)


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
