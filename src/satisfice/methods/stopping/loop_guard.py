"""End a chain that only repeats itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session
from satisfice.core.stepping import Hold, Move, Place, Rows
from satisfice.methods.stopping.stepwise import follow


@dataclass(frozen=True, kw_only=True)
class LoopGuard:
    """End a chain that only repeats itself: the same tokens over and over, `times` times at its end.

    Every `every` tokens the end of the thinking is searched for a pattern of at most `longest` tokens that stands there
    `times` times in a row, over at least `least` tokens in all. Then thinking is closed and the answer written. A chain
    that does not loop is left alone, token for token. Servers know this as repetition detection.
    """

    card: ClassVar = Card(
        id="loop-guard",
        paper="",
        where="standard practice: repetition detection, as vLLM has it",
        needs=frozenset({Need.INJECT}),
        fidelity="standard",
        ours=("times", "longest", "least", "every"),
    )

    at: ClassVar[Place] = "token"
    line: ClassVar = None
    measure: ClassVar = "repeated pattern"

    times: Annotated[int, Range(2)] = 4  # repetitions
    longest: Annotated[int, Range(1)] = 128  # pattern, tokens
    least: Annotated[int, Range(1)] = 32  # tokens that are repetition; short patterns are common in sound work
    every: Annotated[int, Range(1)] = 16  # tokens between two searches

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        return await follow(self, session)

    def step(self, rows: Rows) -> Move:
        """Every `every` tokens, close where the end is a repetition."""
        pattern = np.zeros(len(rows.thought), dtype=np.int64)
        for row in np.flatnonzero((rows.thought % self.every == 0) & (rows.thought > 0)).tolist():
            pattern[row] = repeated(rows.tokens[row], times=self.times, longest=self.longest, least=self.least)
        return Move(close=pattern > 0, value=pattern)

    def hold(self, thought: int, targets: tuple[int, ...]) -> Hold:
        """Nothing changes before the next search."""
        return Hold(tokens=self.every - thought % self.every)


def repeated(ids: Sequence[int], *, times: int, longest: int, least: int = 1) -> int:
    """Length of the shortest pattern of which the end of `ids` is `times` repetitions, `least` tokens or more; else 0.

    >>> repeated([9, 1, 2, 1, 2, 1, 2], times=3, longest=4), repeated([9, 1, 2, 1, 2, 1, 2], times=4, longest=4)
    (2, 0)
    """
    tail = np.asarray(ids[-max(times * longest, least + longest) :], dtype=np.int64)
    for size in range(1, min(longest, len(tail) // times) + 1):
        need = max(times * size, least)
        if need <= len(tail) and np.array_equal(tail[-need:-size], tail[len(tail) - need + size :]):
            return size
    return 0
