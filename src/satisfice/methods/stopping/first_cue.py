"""Stop at the first cue, whatever was thought until then."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import random_key
from satisfice.core.fields import Range, check_fields
from satisfice.core.ladder import Ladder
from satisfice.core.session import Session
from satisfice.core.stepping import Hold, Move, Place, Rows
from satisfice.methods.stopping.stepwise import follow


@dataclass(frozen=True, kw_only=True)
class FirstCue:
    """Stop where the model first says "wait", without looking at what it found.

    The control for every rule that looks at cues: it has the same places to stop and no signal at all, so whatever
    such a rule gains over it is the signal's doing. A chain without a cue runs to its end.

    `every` and `chance` make it the periodic and the random control: it may stop at each `every`-th cue only, and there
    with probability `chance`, drawn from the seed of the session.
    """

    card: ClassVar = Card(
        id="first-cue",
        paper="",
        where="standard practice: exit without a signal",
        needs=frozenset({Need.INJECT}),
        fidelity="standard",
    )

    ladders: ClassVar = (Ladder(field="every", values=(8, 6, 5, 4, 3, 2, 1)),)

    at: ClassVar[Place] = "cue"
    line: ClassVar = None
    measure: ClassVar = "cue"

    every: Annotated[int, Range(1)] = 1  # cues
    chance: Annotated[float, Range(0, 1)] = 1.0  # probability of stopping at such a cue

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        return await follow(self, session)

    def step(self, rows: Rows) -> Move:
        """Close at each `every`-th cue, with probability `chance`."""
        close = rows.cues % self.every == 0
        if self.chance < 1:
            drawn = [random_key(key, "first-cue", cue) / 2**64 for key, cue in zip(rows.keys, rows.cues, strict=True)]
            close &= np.array(drawn) < self.chance
        return Move(close=close, value=rows.cues)

    def hold(self, thought: int, targets: tuple[int, ...]) -> Hold:
        """Nothing changes before a cue."""
        return Hold(place="cue")
