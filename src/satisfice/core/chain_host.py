"""What a chain needs of the session that it is part of, so that neither has to know the other's file."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from satisfice.core.engine import Engine, Sampler
from satisfice.core.problem import Problem

if TYPE_CHECKING:
    from satisfice.core.chain import Chain


class ChainHost(Protocol):
    """What a chain needs of the session that it is part of."""

    engine: Engine
    problem: Problem
    seed: int
    temperature: float
    top_p: float
    sampler: Sampler | None
    bias: dict[int, float]
    options: Mapping[str, Any] | None
    end_ids: frozenset[int]
    answers: bool
    on_tokens: Callable[[], None] | None

    def adopt(self, chain: "Chain", /) -> None: ...

    def note(self, kind: str, chain: "Chain", **data: Any) -> None: ...

    def lease(self, chain: "Chain", want: int | None, /) -> int: ...

    def settle(self, grant: int, /) -> None: ...
