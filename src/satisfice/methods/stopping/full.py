"""No rule: think to the natural end."""

from dataclasses import dataclass
from typing import ClassVar

from satisfice.core.card import Card
from satisfice.core.chain import Chain
from satisfice.core.session import Session


@dataclass(frozen=True, kw_only=True)
class Full:
    """Let the model think until it stops by itself.

    The baseline that every saving is measured against. Only a token limit of the session can end it earlier; thinking
    is then closed for the model and it answers out of the reserve.
    """

    card: ClassVar = Card(id="full", paper="", where="standard practice", needs=frozenset(), fidelity="standard")

    async def __call__(self, session: Session) -> Chain:
        return await session.chain().finish()
