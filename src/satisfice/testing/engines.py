"""What every engine must be able to do: one suite over whatever produces tokens.

It asks an engine for greedy chains and holds what it gets against the contract in `satisfice.core.engine`. A check is
left out only where the engine's `provides` says that it cannot be made.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from satisfice.core.engine import Engine, Request
from satisfice.testing.engine_checks import CHECKS, TOKENS, Check, World
from satisfice.testing.method import Faulty

SOON_S = 120.0  # a check that takes longer has hung
_GREEDY = Request(limit=TOKENS, temperature=0.0)


def check_engine(
    make: Callable[[], Engine],
    *,
    question: str = "What is 12+34?",
    label: str = "check",
    like: Request = _GREEDY,
) -> tuple[str, ...]:
    """Check an engine; returns the names of the checks that its `provides` rules out.

    `make` makes it. To `question` it must be able to go on greedily for a dozen tokens before it ends the turn; `label`
    names the problem, and `like` is the request that all are made of, for engines that answer only some.

    Raises:
        Faulty: it does not keep to the contract; the message names the check.
    """

    async def go() -> tuple[str, ...]:
        async with make() as engine:
            world = World(engine, question, label, replace(like, limit=TOKENS))
            left_out = [check.__name__ for needs, check in CHECKS if needs - engine.provides]
            for needs, check in CHECKS:
                if needs <= engine.provides:
                    await _made(engine, check, world)
        return tuple(left_out)

    return asyncio.run(go())


async def _made(engine: Engine, check: Check, world: World) -> None:
    try:
        async with asyncio.timeout(SOON_S):
            await check(world)
    except Faulty as fault:
        raise Faulty(f"{engine.name}, {check.__name__}: {fault}") from fault
    except TimeoutError as error:
        raise Faulty(f"{engine.name}, {check.__name__}: no answer within {SOON_S:g} s") from error
    except Exception as error:
        raise Faulty(f"{engine.name}, {check.__name__}: {type(error).__name__}: {error}") from error
