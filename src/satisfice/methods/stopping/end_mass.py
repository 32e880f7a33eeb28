"""Stop at a cue where the model could as well have ended its thinking."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session
from satisfice.core.stepping import Array, Hold, Move, Place, Rows
from satisfice.methods.stopping.stepwise import follow


@dataclass(frozen=True, kw_only=True)
class EndMass:
    """Stop at a cue where the model could as well have ended its thinking: a look that costs no token.

    Where the model is about to say "Wait",

        share = p(end) / (p(end) + p(cues)),    stop if share > threshold

    of the next token, over the end of thinking (its first token) and the cues that are one token, among the 20
    likeliest. Where neither is likely at all the share is 0. No single source owns it: that the end's probability is
    worth watching has been said often; the comparison with the cues and the threshold are ours.
    """

    card: ClassVar = Card(
        id="end-mass",
        paper="",
        where="probability of the end of thinking beside that of going on, without one source",
        needs=frozenset({Need.INJECT, Need.TOP_LOGPROBS}),
        fidelity="standard",
        ours=("threshold",),
    )
    at: ClassVar[Place] = "cue"
    measure: ClassVar = "share of the end"

    threshold: Annotated[float, Range(0, 1)] = 0.2  # share; strict

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        return await follow(self, session)

    @property
    def line(self) -> float:
        """The threshold."""
        return self.threshold

    def step(self, rows: Rows) -> Move:
        """Close where the end has more than its share.

        >>> from satisfice.core.stepping import asked
        >>> asked(EndMass(), thought=9, ends=0.1, doubts=0.3).value.tolist()
        [0.25]
        """
        share = end_share(rows.ends, rows.doubts)
        return Move(close=share > self.threshold, value=share)

    def hold(self, thought: int, targets: tuple[int, ...]) -> Hold:
        """Nothing changes before a cue."""
        return Hold(place="cue", masses=True)


def end_share(ends: Array, doubts: Array) -> Array:
    """The share of the end, `[rows]`, of numpy or torch; 0 where neither has any mass."""
    both = ends + doubts
    return ends / (both + (both == 0))
