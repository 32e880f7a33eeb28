"""Answer at once, without thinking."""

from dataclasses import dataclass
from typing import ClassVar

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.session import Session


@dataclass(frozen=True, kw_only=True)
class NoThinking:
    """Skip the thinking: fill in a thinking block that says it is finished, and let the model answer.

    The text that is filled in is the profile's `skip_thinking`; for models of the R1 family that is the paper's
    sentence. A model may reason in its visible answer all the same; that counts as answer.

    The paper also votes over many such answers by self-certainty, which is a policy over chains and not this rule;
    plain voting is `self-consistency(stop=nothinking)`.
    """

    card: ClassVar = Card(
        id="nothinking",
        paper="arXiv:2504.09858",
        where="the prefilled thinking block",
        needs=frozenset({Need.INJECT}),
        fidelity="paper",
        system="nothinking",
    )

    async def __call__(self, session: Session) -> Chain:
        return await session.chain().close_thinking(session.engine.profile.skip_thinking)
