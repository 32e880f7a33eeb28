"""Every method of the catalogue passes the battery, and the battery catches what it says it catches."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from satisfice.catalog import METHODS
from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals
from satisfice.core.method import Method
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel.first_finish import FirstFinish
from satisfice.methods.parallel.self_consistency import SelfConsistency
from satisfice.methods.stopping.deer import Deer
from satisfice.methods.stopping.es_cot import EsCot
from satisfice.methods.stopping.fixed_budget import FixedBudget
from satisfice.testing import Faulty, check_method


def card(**fields: Any) -> Card:
    return Card(**{"id": "mine", "paper": "", "where": "here", "needs": frozenset(), "fidelity": "standard"} | fields)


LEARNED = {"knowing-before-saying", "lynx", "specexit", "stop-value"}
"""They cannot be made without an artefact; tests/stopping/test_learned.py has them pass with one."""


@pytest.mark.parametrize("method", [method for name, method in METHODS.items() if name not in LEARNED])
def test_every_method_of_the_catalogue_passes(method: type[Method]) -> None:
    check_method(method)


@pytest.mark.parametrize(
    "policy",
    [
        FirstFinish(n=4, k=2, stop=Deer(threshold=0.9, mean="min")),
        SelfConsistency(n=3, stop=FirstFinish(n=2, stop=EsCot(d_min=1, trigger="cue"))),
        FixedBudget(tokens=0),
    ],
    ids=str,
)
def test_compositions_pass(policy: Policy) -> None:
    check_method(policy)


@dataclass(frozen=True, kw_only=True)
class Good:
    """Do nothing special."""

    card: ClassVar = card()

    async def __call__(self, session: Session) -> Chain:
        return await session.chain().finish()


def test_a_strangers_own_rule_passes() -> None:
    check_method(Good)


@dataclass(frozen=True)
class NoDefault(Good):
    """Needs an argument."""

    threshold: float


@dataclass(kw_only=True)
class Melted:
    """Not frozen."""

    card: ClassVar = card()

    async def __call__(self, session: Session) -> Chain:
        return await session.chain().finish()


class NoCard(Good):
    """Has no card."""

    card = None  # type: ignore[assignment]


class FalseOurs(Good):
    """Names a field that it does not have."""

    card: ClassVar = card(ours=("threshold",))


class Nowhere(Good):
    """Does not say where it comes from."""

    card: ClassVar = card(where=" ")


class Unsourced(Good):
    """Says that it is a paper's and does not say which."""

    card: ClassVar = card(fidelity="paper")


class Secretive(Good):
    """Asks for log-probabilities, which its card does not say."""

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        await chain.think(signals=Signals(logprobs=True))
        return await chain.finish()


class Meddling(Good):
    """Changes scores, which its card does not say."""

    card: ClassVar = card(needs=frozenset({Need.LOGPROBS}))

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        await chain.think(bias={0: 1.0})
        return await chain.finish()


class Failing(Good):
    """Fails."""

    async def __call__(self, session: Session) -> Chain:
        raise RuntimeError("no idea")


COUNTER = itertools.count()


class Moody(Good):
    """Depends on how often it was called."""

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        if next(COUNTER) % 3 and await chain.think(limit=3):
            return await chain.close_thinking()
        return await chain.finish()


RUNNING: list[Session] = []


class Crowded(Good):
    """Gives up when others are running."""

    async def __call__(self, session: Session) -> Chain:
        RUNNING.append(session)
        try:
            chain = session.chain()
            await chain.think(limit=3)
            return await (chain.close_thinking() if len(RUNNING) > 1 else chain.finish())
        finally:
            RUNNING.remove(session)


class Leaky(Good):
    """Opens a sequence behind the session's back."""

    async def __call__(self, session: Session) -> Chain:
        session.engine.open("secret", "secret")
        return await session.chain().finish()


class Unbooked(Good):
    """Samples behind the session's back."""

    async def __call__(self, session: Session) -> Chain:
        from satisfice.core.engine import Request

        secret = session.engine.open("secret", "secret")
        await secret.sample(Request(limit=2))
        secret.close()
        return await session.chain().finish()


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        (NoDefault, "every field needs a default"),
        (Melted, "frozen"),
        (NoCard, "needs a class attribute `card`"),
        (FalseOurs, "threshold"),
        (Nowhere, "where"),
        (Unsourced, "names no paper"),
        (Secretive, "asked for logprobs"),
        (Meddling, "asked for logits"),
        (Failing, "no idea"),
        (Moody, "not deterministic"),
        (Crowded, "differently when others run"),
        (Leaky, "sequences open"),
        (Unbooked, "where the engine sampled"),
    ],
)
def test_the_battery_catches(method: type[Policy], fault: str) -> None:
    with pytest.raises(Faulty, match=fault):
        check_method(method)
