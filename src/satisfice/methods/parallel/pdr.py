"""Draft in parallel, distil the drafts, and write afresh from what was distilled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

from satisfice.answers.vote import majority
from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import random_key
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import abreast, follow, new_chain

REFINE = (
    "{question}\n\nNotes from earlier attempts at this problem are below. They may be wrong in places: keep what "
    "holds, repair what does not, and give a complete solution of your own.\n\n{workspace}"
)
DISTIL = (
    "Several attempts at one problem are below. Do not solve it anew. Write short notes for someone who will: on "
    "what the attempts agree, where they contradict each other, which facts are established, what is still open, and "
    "what to do next.\n\nProblem:\n{question}\n\n{workspace}"
)


@dataclass(frozen=True, kw_only=True)
class Pdr:
    """Draft in parallel, distil the drafts, and write afresh from what was distilled.

    In each of `rounds` rounds the model drafts `drafts` solutions side by side, in the last round one, which is the
    result. Between two rounds all that is carried over is a workspace of at most `workspace` tokens: notes that the
    model makes on the drafts (*summary*), the `k` best drafts themselves (*top*), or for each new draft another `k` of
    them (*random*). So the wait grows with the rounds alone, the tokens with all drafts.

    The paper's short drafts are `stop=fixed-budget(tokens=...)`. Our own: prompts; *top* ranks the drafts whose answer
    most others share first, the shorter before the longer; drafts that do not fit are left out whole; once all drafts
    of a round agree the rest of the rounds is skipped and the first of them is the result (`shortcut`).
    """

    card: ClassVar = Card(
        id="pdr",
        paper="arXiv:2510.01123",
        where="parallel, distil, refine; prompts are ours",
        needs=frozenset({Need.INJECT}),
        fidelity="second-hand",
        system="pdr",
        ours=("drafts", "rounds", "distil", "workspace", "k", "shortcut", "stop"),
    )

    drafts: Annotated[int, Range(1), Counts.CHAINS] = 4  # in each round but the last
    rounds: Annotated[int, Range(1), Counts.CHAINS] = 2  # the last one included
    distil: Literal["summary", "top", "random"] = "summary"  # what becomes of the drafts
    workspace: Annotated[int, Range(1)] = 512  # tokens carried over to the next round
    k: Annotated[int, Range(1), Counts.CHAINS] = 2  # drafts that are kept, for top and random
    shortcut: bool = True  # drafts that all agree end it
    stop: Policy | None = None  # rule that each draft follows; none: it runs to its end

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        chains: list[Chain] = []
        for r in range(self.rounds):
            count = 1 if r == self.rounds - 1 else self.drafts
            spaces = await self._spaces(session, chains, count, r) if chains else [""] * count
            asked = [refine_prompt(session.problem.question, space) for space in spaces]
            begun = [new_chain(session, after=session.chains, question=question) for question in asked]
            chains = await abreast(session, [follow(self.stop, session, chain) for chain in begun])
            answers = [session.parse(chain.answer_text) for chain in chains]
            vote = majority(answers, same=session.same)
            chains[0].look("share of drafts that agree", vote.share, stop=r == self.rounds - 1, text=vote.answer or "")
            if self.shortcut and len(chains) > 1 and len(vote.voters) == len(chains):
                break
        return chains[0]

    async def _spaces(self, session: Session, chains: Sequence[Chain], count: int, r: int) -> list[str]:
        """Return the workspace that each of the next drafts gets."""
        texts = [draft_text(chain) for chain in chains]
        match self.distil:
            case "summary":
                return [await self._summary(session, chains, texts)] * count
            case "top":
                order = ranked(session, chains)[: self.k]
                return [gathered(session, [texts[i] for i in order], self.workspace)] * count
            case "random":
                picks = [
                    sorted(range(len(texts)), key=lambda i: random_key(session.seed, session.problem.id, r, branch, i))
                    for branch in range(count)
                ]
                return [gathered(session, [texts[i] for i in sorted(p[: self.k])], self.workspace) for p in picks]

    async def _summary(self, session: Session, chains: Sequence[Chain], texts: Sequence[str]) -> str:
        attempts = "\n\n".join(f"Attempt {n}:\n{text}" for n, text in enumerate(texts, 1))
        question = DISTIL.format(question=session.problem.question, workspace=attempts)
        notes = new_chain(session, after=chains, question=question)
        notes.inject(session.engine.profile.skip_thinking)
        await notes.sample(self.workspace)
        return notes.answer_text.strip()


def refine_prompt(question: str, workspace: str) -> str:
    """Return the question, with what is known so far where something is."""
    return REFINE.format(question=question, workspace=workspace) if workspace else question


def draft_text(chain: Chain) -> str:
    """Return what a draft is to whoever reads it: the visible solution, the thinking where there is none."""
    return chain.answer_text.strip() or chain.thinking.strip()


def ranked(session: Session, chains: Sequence[Chain]) -> list[int]:
    """Positions of drafts: those whose answer most others share first, of these the shorter first."""
    answers = [session.parse(chain.answer_text) for chain in chains]
    shared = [sum(b is not None and session.same(a, b) for b in answers) if a is not None else 0 for a in answers]
    return sorted(range(len(chains)), key=lambda i: (-shared[i], len(chains[i]), i))


def gathered(session: Session, texts: Sequence[str], tokens: int) -> str:
    """As many whole drafts, in order, as go into `tokens`; the beginning of the first where not even that does."""
    kept, left = [], tokens
    for text in texts:
        ids = session.engine.encode(text)
        if len(ids) <= left:
            kept.append(text)
            left -= len(ids)
    if not kept and texts:
        kept = [session.engine.decode(session.engine.encode(texts[0])[:tokens])]
    return "\n\n".join(f"Attempt {n}:\n{text}" for n, text in enumerate(kept, 1))


class Cost(NamedTuple):
    """Tokens read and written, along the path of the result and in all calls."""

    sequential: int
    total: int


def cost(prompt: int, drafts: Sequence[int], notes: int, final: int) -> Cost:
    """Return what two rounds with a summary take, tokens in and out, by the paper's convention.

    >>> cost(200, [1000] * 4, 300, 1000)
    Cost(sequential=7200, total=10800)
    """
    summary = prompt + sum(drafts) + notes
    last = prompt + notes + final
    return Cost(prompt + max(drafts) + summary + last, sum(prompt + draft for draft in drafts) + summary + last)
