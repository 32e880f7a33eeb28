"""Stop after a fixed number of thinking tokens."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session


@dataclass(frozen=True, kw_only=True)
class FixedBudget:
    """Stop after a fixed number of thinking tokens, then answer.

    The plain baseline that every rule has to beat at equal spending: the chain thinks for at most `tokens` tokens; if
    it is not done by then the thinking is closed for it and it writes its answer. A chain that ends earlier is left
    alone.

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

    tokens: Annotated[int, Range(0)] = 96  # thinking tokens

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        if await chain.think(limit=self.tokens):
            chain.look("thinking tokens", len(chain), threshold=self.tokens, stop=True)
            return await chain.close_thinking()
        return await chain.finish()
