"""Ask several times and take the answer that most chains agree on."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.card import Card
from satisfice.core.chain import Chain
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import abreast, elect, follow


@dataclass(frozen=True, kw_only=True)
class SelfConsistency:
    """Ask several times and take the answer that most chains agree on.

    Wrong chains are wrong in different ways, right ones agree. Answers that mean the same are merged before counting;
    chains without an answer do not vote; a tie goes to the answer that the lower chain number gave. The chain returned
    is the first that voted for the winner, all others count as dropped.

    Every chain follows `stop`, so `self-consistency(n=8, stop=es-cot)` stops each of the eight early.
    """

    card: ClassVar = Card(
        id="self-consistency",
        paper="arXiv:2203.11171",
        where="sample, then marginalise over answers",
        needs=frozenset(),
        fidelity="standard",
        ours=("n", "stop"),
    )

    n: Annotated[int, Range(1), Counts.CHAINS] = 8  # chains
    stop: Policy | None = None  # rule that each chain follows; none: it runs to its end

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        return elect(session, await abreast(session, [follow(self.stop, session) for _ in range(self.n)]))
