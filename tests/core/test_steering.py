"""Shapers that take part in the sampling: which tokens are the model's own."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from tests.core.worlds import PROBLEM, engine, seeds

from satisfice.core.session import Session
from satisfice.core.steering import Replaying, Rolled, Segmented, Steering, sampled_tokens
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.s_grpo import SGrpo
from satisfice.methods.shaping.spear import Spear
from satisfice.methods.shaping.ulorl import Ulorl


@given(seeds, st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_sampled_tokens_are_told_from_those_put_in(seed: int, limits: list[int]) -> None:
    async def run() -> None:
        async with Session(engine(seed), PROBLEM) as session:
            chain = session.chain()
            put_in = 0
            for limit in limits:
                await chain.think(limit=limit)
                before = len(chain)
                chain.inject(" hm ")
                put_in += len(chain) - before
            mask = sampled_tokens(chain)
            assert len(mask) == len(chain)
            assert sum(mask) == len(chain) - put_in
            fork = chain.fork()
            await fork.think(limit=3)
            own = sampled_tokens(fork, by=fork.name)
            assert not any(own[: len(chain)]), "what the parent sampled is not the fork's"
            assert sum(own) == len(fork) - len(chain)
            assert sampled_tokens(fork)[: len(chain)] == mask
            assert Rolled(chain=fork).mask is None

    asyncio.run(run())


def test_who_steers() -> None:
    assert isinstance(SGrpo(), Steering)
    assert isinstance(Ulorl(), Segmented)
    assert isinstance(Spear(), Replaying)
    assert not isinstance(Grpo(), Steering | Segmented | Replaying)
