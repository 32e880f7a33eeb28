"""Sequences of engines that keep nothing between calls: each call sends all tokens, and caches may know the beginning.

What makes that cheap is somebody else's prefix cache; `ComputedPrefix` makes visible in the ledger what it lost.
"""

from typing import Protocol

from satisfice.core.engine import Request, Sampled
from satisfice.core.errors import EngineError
from satisfice.engines.checks import check_length, check_request, without_room
from satisfice.engines.collector import Collector


class ComputedPrefix:
    """How many leading tokens of a sequence an engine has computed, for it or for one that began alike.

    Engines that keep no state for us compute a chain's beginning again with every call, unless their cache holds it.
    Only what had been computed before counts as computed *again*: a prompt's first time is no waste.
    """

    def __init__(self, prompt: int) -> None:
        self._prompt = [prompt, 0]  # shared by all forks: its length, and how much of it was read
        self._own = 0

    def fork(self, length: int) -> "ComputedPrefix":
        """Return the prefix of a copy of the first `length` tokens."""
        child = ComputedPrefix(0)
        child._prompt, child._own = self._prompt, min(self._own, length)
        return child

    def cut(self, length: int) -> None:
        """Note that the sequence now ends after `length` tokens."""
        self._own = min(self._own, length)

    @property
    def prompt(self) -> int:
        """Tokens of the prompt."""
        return self._prompt[0]

    def begin(self) -> int:
        """Note that a call reads the sequence now; return how many of its tokens were computed before."""
        known = max(self._own, self._prompt[1])
        self._prompt[1] = self._prompt[0]
        return known

    def end(self, length: int) -> None:
        """Note that the call is over and left `length` tokens."""
        self._own = length


def computed_again(known: int, length: int, cached: int) -> int:
    """Return tokens that a call over `length` tokens computed although they had been computed before.

    The last one is read anew by every call, for its scores, and does not count.

    >>> computed_again(300, 301, 256), computed_again(0, 301, 0), computed_again(300, 300, 299)
    (44, 0, 0)
    """
    return max(0, min(known, length - 1) - cached)


class Stateless(Protocol):
    """What such an engine does for its sequences."""

    max_length: int

    def decode(self, ids: list[int]) -> str: ...

    def refuse(self, request: Request) -> None:
        """Raise `EngineError` for what the engine cannot give."""
        ...

    async def fill(self, take: Collector, request: Request, computed: ComputedPrefix) -> None:
        """Add tokens to `take` until it has a reason to stop; `take.ids` is the sequence."""
        ...


class StatelessSequence:
    """A sequence that lives here alone."""

    def __init__(self, engine: Stateless, ids: list[int], computed: ComputedPrefix | None = None) -> None:
        self._engine, self.ids = engine, ids
        self._computed = ComputedPrefix(len(ids)) if computed is None else computed
        self._sampling = False
        self.last: Sampled | None = None

    def fork(self, length: int) -> "StatelessSequence":
        check_length(length, self.ids)
        return StatelessSequence(self._engine, self.ids[:length], self._computed.fork(length))

    def extend(self, ids: list[int]) -> None:
        self._check_idle()
        self.ids.extend(ids)

    def cut(self, length: int) -> None:
        self._check_idle()
        check_length(length, self.ids)
        del self.ids[length:]
        self._computed.cut(length)

    async def sample(self, request: Request) -> Sampled:
        self._check_idle()
        check_request(request)
        self._engine.refuse(request)
        if (nothing := without_room(self.ids, request, self._engine.max_length)) is not None:
            self.last = nothing
            return nothing
        take = Collector(self.ids, request, self._engine.decode, max_length=self._engine.max_length)
        self._sampling = True
        try:
            await self._engine.fill(take, request, self._computed)
        finally:
            self._sampling, self.last = False, take.result()
        return self.last

    def close(self) -> None:
        return None

    def _check_idle(self) -> None:
        if self._sampling:
            raise EngineError("the sequence is being sampled from; wait for that call, or fork the sequence")
