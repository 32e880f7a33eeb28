"""Stop a chain once the model's next tokens have been near certain for a while."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Watch
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session
from satisfice.core.stepping import Hold, Move, Place, Rows
from satisfice.methods.stopping.stepwise import follow


@dataclass(frozen=True, kw_only=True)
class EntropySettled:
    """Stop once the entropy of the next token has settled: its mean over a window is below a line.

        H_i = -sum_v p_i(v) ln p_i(v),    stop if mean(H_{n-window+1} ... H_n) < below

    A model that only copies and confirms what it has found is near certain of each token. Chains shorter than the
    window are left alone. No single source owns it: low entropy as a sign that the work is done is in several papers;
    the window and the line are ours, and what is low depends on the model.
    """

    card: ClassVar = Card(
        id="entropy-settled",
        paper="",
        where="low entropy as a sign that nothing is being decided any more, without one source",
        needs=frozenset({Need.INJECT, Need.ENTROPY}),
        fidelity="standard",
        ours=("window", "below"),
    )
    at: ClassVar[Place] = "token"
    measure: ClassVar = "entropy"

    window: Annotated[int, Range(1)] = 64  # tokens
    below: Annotated[float, Range(0)] = 0.05  # nats; strict

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        return await follow(self, session)

    @property
    def line(self) -> float:
        """The line."""
        return self.below

    def step(self, rows: Rows) -> Move:
        """Close where the mean is below the line."""
        return Move(close=self._watch.beyond(rows.mean), value=rows.mean)

    def hold(self, thought: int, targets: tuple[int, ...]) -> Hold:
        """Nothing changes before the mean crosses the line."""
        return Hold(watch=self._watch)

    @cached_property
    def _watch(self) -> Watch:
        return Watch(signal="entropy", below=self.below, window=self.window)
