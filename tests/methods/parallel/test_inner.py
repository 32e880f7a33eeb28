"""The rule inside a policy: it takes up the chain that is under way, and may begin more from where that stood."""

from dataclasses import dataclass
from typing import ClassVar

from tests.methods.parallel.stage import play, stories

from satisfice.core.card import Card
from satisfice.core.chain import Chain
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import elect, follow, level, new_chain
from satisfice.methods.parallel.adaptive_consistency import AdaptiveConsistency
from satisfice.methods.parallel.self_consistency import SelfConsistency
from satisfice.methods.stopping.fixed_budget import FixedBudget
from satisfice.methods.stopping.full import Full

STORY = "a b c d e f</think>7"


@dataclass(frozen=True, kw_only=True)
class Later:
    """Thinks three tokens and leaves the rest to a rule."""

    card: ClassVar = Card(id="later", paper="", where="here", needs=frozenset(), fidelity="standard")
    stop: Policy | None = None

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        await chain.think(limit=3)
        return await follow(self.stop, session, chain)


def test_one_chain_is_taken_up_as_it_is_and_nothing_is_copied() -> None:
    for stop in (None, Full(), FixedBudget(tokens=900)):
        solution, _ = play(Later(stop=stop), stories(STORY))
        assert (solution.text, solution.chain, solution.ledger.spent) == ("7", "0", solution.ledger.kept)
        assert not [event for event in solution.log if event.kind == "fork"]


def test_a_policy_inside_begins_its_other_chains_where_the_first_stood() -> None:
    solution, _ = play(Later(stop=SelfConsistency(n=3)), stories(STORY))
    whole = solution.ledger.kept
    assert solution.ledger.spent == whole + 2 * (whole - 3), "the first three tokens were sampled once"


def test_even_those_that_it_begins_after_the_first_has_ended() -> None:
    solution, _ = play(Later(stop=AdaptiveConsistency(n=3)), stories(STORY))
    assert solution.ledger.spent == solution.ledger.kept + 2 * (solution.ledger.kept - 3)
    nested, _ = play(Later(stop=SelfConsistency(n=2, stop=AdaptiveConsistency(n=2))), stories(STORY))
    assert nested.text == "7"


def test_chains_that_wait_for_others_begin_where_those_ended() -> None:
    class Two(Later):
        async def __call__(self, session: Session) -> Chain:
            first = await session.chain().finish()
            second = new_chain(session, after=[first])
            await second.think(limit=2)
            third = session.chain()
            level([second, third])
            assert second.clock == third.clock == first.clock + 2
            return elect(session, [await second.finish(), first])

    solution, _ = play(Two(), stories(STORY))
    assert solution.chain == "1"
    assert solution.ledger.steps == 2 * solution.ledger.kept
