"""Stop after a fixed number of thinking tokens."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.fields import Range, check_fields
from satisfice.core.ladder import Ladder
from satisfice.core.session import Session
from satisfice.methods.stopping.trial import think_to_cue, think_to_step


@dataclass(frozen=True, kw_only=True)
class FixedBudget:
    """Stop after a fixed number of thinking tokens, then answer.

    The plain baseline that every rule has to beat at equal spending: the chain thinks for at most `tokens` tokens; if
    it is not done by then the thinking is closed for it and it writes its answer. A chain that ends earlier is left
    alone. `at=step` and `at=cue` wait for the next end of a step, or cue: nothing is cut mid-word.

    This is truncate-and-answer. Cutting the whole output at a limit and scoring what stands there, answer or none, is a
    baseline too, and an unfairly weak one.
    """

    card: ClassVar = Card(
        id="fixed-budget",
        paper="",
        where="standard practice: truncate and answer",
        needs=frozenset({Need.INJECT}),
        fidelity="standard",
        ours=("tokens",),
    )

    ladders: ClassVar = (Ladder(field="tokens", counts="tokens"),)

    tokens: Annotated[int, Range(0)] = 96  # thinking tokens
    at: Literal["token", "step", "cue"] = "token"  # where it stops once they are spent

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        waits = {"step": think_to_step, "cue": think_to_cue}
        if await chain.think(limit=max(0, self.tokens - len(chain))) and (
            self.at == "token" or await waits[self.at](chain)
        ):
            chain.look("thinking tokens", len(chain), threshold=self.tokens, stop=True)
            return await chain.close_thinking()
        return await chain.finish()
