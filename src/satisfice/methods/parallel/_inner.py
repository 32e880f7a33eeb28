"""What policies over several chains share: the rule inside them, chains that start together, and who wins a vote."""

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from satisfice.answers.vote import majority
from satisfice.core.chain import Chain
from satisfice.core.errors import EngineError
from satisfice.core.session import Policy, Session


async def follow(stop: Policy | None, session: Session, chain: Chain | None = None) -> Chain:
    """Return one chain under the rule `stop`, or to its natural end.

    With `chain`, one that is under way already: the rule takes it up where it stands.
    """
    if stop is None:
        return await (session.chain() if chain is None else chain).finish()
    # A rule that follows one chain asks for one; keeping the place for others is for policies over several.
    return await stop(session if chain is None else session.continuing(chain, several=hasattr(stop, "stop")))


async def abreast(session: Session, works: Iterable[Coroutine[Any, Any, Chain]]) -> list[Chain]:
    """Run works side by side and wait for all of them; their chains in the order of the works."""
    tasks = [session.start(work) for work in works]
    return [await task for task in tasks]


def new_chain(session: Session, after: Iterable[Chain] = (), question: str | None = None) -> Chain:
    """Return a chain that begins when those in `after` have ended, as far as decode steps go."""
    chain = session.chain(question)
    chain.clock = max((other.clock for other in after), default=0)
    return chain


def level(chains: Sequence[Chain]) -> None:
    """All chains have waited for the slowest of them: count their steps from there."""
    latest = max((chain.clock for chain in chains), default=0)
    for chain in chains:
        chain.clock = latest


def elect(
    session: Session, chains: Sequence[Chain], weights: Sequence[float] | None = None, measure: str = "share of votes"
) -> Chain:
    """Return the first chain that voted for the winner; the first of all when none has an answer."""
    answers = [session.parse(chain.answer_text) for chain in chains]
    vote = majority(answers, same=session.same, weights=weights)
    winner = chains[vote.voters[0]] if vote.voters else chains[0]
    winner.look(measure, vote.share, stop=True, text=vote.answer or "")
    return winner


def every_layer(session: Session) -> tuple[int, ...]:
    """Numbers of all layers whose states the engine gives: 0, the embedding, to L, the last block."""
    count = session.engine.describe().get("layers")
    if not isinstance(count, int):
        raise EngineError(f"the {session.engine.name} engine does not say how many layers its model has")
    return tuple(range(count + 1))
