"""Hand the model its own solution back and have it written anew."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.card import Card
from satisfice.core.chain import Chain
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import follow, new_chain
from satisfice.methods.parallel.pdr import draft_text, gathered, refine_prompt


@dataclass(frozen=True, kw_only=True)
class SeqRefine:
    """Hand the model its own solution back, `rounds` times in all, and have it written anew.

    s <- M(x, s): no thinking is carried over, only the visible solution, and of that at most `workspace` tokens. The
    sequential counterpart of `pdr` from the same paper; the prompt is ours.
    """

    card: ClassVar = Card(
        id="seq-refine",
        paper="arXiv:2510.01123",
        where="sequential refinement; the prompt is ours",
        needs=frozenset(),
        fidelity="second-hand",
        system="pdr",
        ours=("rounds", "workspace", "stop"),
    )

    rounds: Annotated[int, Range(1), Counts.CHAINS] = 2  # solutions written, the first one included
    workspace: Annotated[int, Range(1)] = 1024  # tokens of a solution that are handed back
    stop: Policy | None = None  # rule that each chain follows; none: it runs to its end

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        chain = await follow(self.stop, session)
        for r in range(1, self.rounds):
            space = gathered(session, [draft_text(chain)], self.workspace)
            begun = new_chain(session, after=[chain], question=refine_prompt(session.problem.question, space))
            before, chain = chain, await follow(self.stop, session, begun)
            answers = session.parse(before.answer_text), session.parse(chain.answer_text)
            changed = None in answers or not session.same(answers[0] or "", answers[1] or "")
            chain.look("answer changed", float(changed), stop=r == self.rounds - 1, text=answers[1] or "")
        return chain
