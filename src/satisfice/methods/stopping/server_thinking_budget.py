"""Let the server end the thinking after so many tokens, and check that it did."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.errors import EngineError
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session


@dataclass(frozen=True, kw_only=True)
class ServerThinkingBudget:
    """Let the server end the thinking after so many tokens by its own means, and check that it did.

    What vLLM calls `thinking_token_budget` and SGLang `thinking_budget`: the server puts the end of thinking itself, in
    the midst of decoding, at no cost. Servers that do not know the field have been seen to ignore it without a word;
    so a chain that thinks for more than `slack` tokens beyond the budget fails, and says so. The slack is for servers
    that finish the line first (SGLang: one token).

    `fixed-budget` does the same from outside, and runs everywhere.
    """

    card: ClassVar = Card(
        id="server-thinking-budget",
        paper="",
        where="vLLM's and SGLang's thinking budgets, from their code and documentation",
        needs=frozenset({Need.BUDGET}),
        fidelity="standard",
        ours=("tokens", "slack"),
    )

    tokens: Annotated[int, Range(0)] = 96  # thinking tokens
    slack: Annotated[int, Range(0)] = 8  # thinking tokens beyond the budget that are let pass

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        close = len(session.engine.encode(session.engine.profile.think_close))
        ignored = await chain.think(limit=self.tokens + self.slack + close, budget=self.tokens)
        chain.look("thinking tokens", len(chain), threshold=self.tokens, stop=not ignored)
        if ignored:
            raise EngineError(
                f"the {session.engine.name} engine was given a thinking budget of {self.tokens} tokens and went on "
                f"after {len(chain)}: the server does not know the field, or not the marks of this model's thinking. "
                "Use fixed-budget."
            )
        return await chain.finish()
