"""Small worlds for property tests: scripts that hypothesis makes up, and policies that do anything a policy may do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import strategies as st

from satisfice.core.card import Card
from satisfice.core.chain import Chain
from satisfice.core.engine import Request
from satisfice.core.problem import Problem
from satisfice.core.session import Session
from satisfice.engines.scripted import END, ScriptedEngine

PIECES = ("so 4", "Wait, ", "Wa", "it", "\n", "x", " ", "7", "await", "</think>", END)
PROBLEM = Problem(id="a", task="t@1", question="2+2", answer="4")


def babble(seed: int) -> Callable[[str, Request], str]:
    """A script that says anything: the next piece depends on the text so far, the key and the seed alone."""
    import zlib

    def script(so_far: str, request: Request) -> str:
        word = zlib.crc32(f"{seed}|{so_far}|{request.key if request.temperature else 'greedy'}".encode())
        if len(so_far) > 300:
            return END
        return PIECES[word % (len(PIECES) if word % 7 == 0 else len(PIECES) - 2)]

    return script


def engine(seed: int, **options: Any) -> ScriptedEngine:
    return ScriptedEngine(babble(seed), **options)


seeds = st.integers(0, 10_000)
moves = st.lists(
    st.tuples(
        st.sampled_from(["think", "cue", "probe", "fork", "race", "swap", "inject", "close"]), st.integers(0, 12)
    ),
    max_size=12,
)


@dataclass(frozen=True, kw_only=True)
class Wanderer:
    """Does a list of moves on its chain, then finishes it."""

    card: ClassVar = Card(id="wanderer", paper="", where="nowhere", needs=frozenset(), fidelity="standard")

    moves: tuple[tuple[str, int], ...] = ()

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        for move, number in self.moves:
            match move:
                case "think":
                    await chain.think(limit=number)
                case "cue":
                    await chain.think(until=("Wait", "so"))
                case "probe":
                    await chain.probe().inject("</think>").sample(number, greedy=True)
                case "fork":
                    await chain.fork().think(limit=number)
                case "swap":
                    chain = chain.fork()
                case "inject":
                    chain.inject(" hm ")
                case "close":
                    await chain.close_thinking()
                case "race":
                    async with session.race([session.chain().finish() for _ in range(number % 4 + 1)]) as race:
                        async for winner in race:
                            chain = winner
                            break
        return await chain.finish()
