"""Stop a chain once its confidence over a window has crossed a line."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Watch
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session
from satisfice.core.stepping import Hold, Move, Place, Rows
from satisfice.methods.stopping.stepwise import follow


@dataclass(frozen=True, kw_only=True)
class DeepConfLine:
    """Stop one chain once its confidence over a window has crossed a line.

    The confidence of a token is that of DeepConf, C_i = -(1/20) sum_j log p_(j) over its 20 likeliest alternatives:
    high where the model is sure. After each token with `window` tokens behind it

        stop if mean(C_{n-window+1} ... C_n) < below,  or > above

    `above` ends the thinking of a model that has become sure, `below` gives up a chain that has lost its way: the
    latter is DeepConf's own test for dropping a chain among many. There the line comes from other chains on the same
    problem; for one chain you must give it, and what is much depends on the model and its vocabulary.

    Reconstructed: the paper drops such a chain, this rule lets it answer.
    """

    card: ClassVar = Card(
        id="deepconf-line",
        paper="arXiv:2508.15260",
        where="Sec. 3, group confidence against a line, for a single chain",
        needs=frozenset({Need.INJECT, Need.TOP_LOGPROBS}),
        fidelity="reconstructed",
        ours=("window", "below", "above"),
    )
    at: ClassVar[Place] = "token"
    measure: ClassVar = "confidence"

    window: Annotated[int, Range(1)] = 256  # tokens
    below: Annotated[float | None, Range(0)] = 8.0  # nats; none: never
    above: Annotated[float | None, Range(0)] = None  # nats; none: never

    def __post_init__(self) -> None:
        check_fields(self)
        if self.below is None and self.above is None:
            raise BadInput("deepconf-line: below and above are both none, so nothing would stop a chain. Give one.")

    async def __call__(self, session: Session) -> Chain:
        return await follow(self, session)

    @property
    def line(self) -> float | None:
        """The line; of two the lower."""
        return self.above if self.below is None else self.below

    def step(self, rows: Rows) -> Move:
        """Close where the mean is beyond the line."""
        return Move(close=self._watch.beyond(rows.mean), value=rows.mean)

    def hold(self, thought: int, targets: tuple[int, ...]) -> Hold:
        """Nothing changes before the mean crosses the line."""
        return Hold(watch=self._watch)

    @cached_property
    def _watch(self) -> Watch:
        return Watch(signal="confidence", below=self.below, above=self.above, window=self.window)
