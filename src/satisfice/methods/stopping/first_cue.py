"""Stop at the first cue, whatever was thought until then."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import random_key
from satisfice.core.fields import Range, check_fields
from satisfice.core.ladder import Ladder
from satisfice.core.session import Session
from satisfice.methods.stopping.trial import think_to_cue


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

    every: Annotated[int, Range(1)] = 1  # cues
    chance: Annotated[float, Range(0, 1)] = 1.0  # probability of stopping at such a cue

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        cue = 0
        while await think_to_cue(chain):
            cue += 1
            drawn = random_key(session.seed, session.problem.id, chain.name, "first-cue", cue) / 2**64
            stop = cue % self.every == 0 and drawn < self.chance
            chain.look("cue", cue, stop=stop)
            if stop:
                return await chain.close_thinking()
        return await chain.finish()
