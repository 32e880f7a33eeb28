"""Stop at the first cue, whatever was thought until then."""

from dataclasses import dataclass
from typing import ClassVar

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.session import Session
from satisfice.stopping._trial import think_to_cue


@dataclass(frozen=True, kw_only=True)
class FirstCue:
    """Stop where the model first says "wait", without looking at what it found.

    The control for every rule that looks at cues: it has the same places to stop and no signal at all, so whatever
    such a rule gains over it is the signal's doing. A chain without a cue runs to its end.
    """

    card: ClassVar = Card(
        id="first-cue",
        paper="",
        where="standard practice: exit without a signal",
        needs=frozenset({Need.INJECT}),
        fidelity="standard",
    )

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        if await think_to_cue(chain):
            chain.look("cue", 1, stop=True)
            return await chain.close_thinking()
        return await chain.finish()
