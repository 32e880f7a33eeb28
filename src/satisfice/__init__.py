"""Make reasoning models stop when they have thought enough, and measure it honestly.

    import asyncio
    from satisfice import Session, build, load_engine, load_task, solve

    async def main() -> None:
        problem = load_task("chain-sum:hard").problems[0]
        async with load_engine("pocket") as engine:
            solution = await solve(build("deer"), Session(engine, problem))
        print(solution.text, solution.ledger.spent)

    asyncio.run(main())

Methods come from their family: `from satisfice.methods.stopping import Deer`. Importing satisfice is quick and loads no
torch.
"""

import importlib
from typing import TYPE_CHECKING

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput, SatisficeError
from satisfice.core.ledger import Ledger
from satisfice.core.problem import Problem, Verdict
from satisfice.core.profile import Profile
from satisfice.core.session import Policy, Session, Solution, solve

if TYPE_CHECKING:
    from satisfice.catalog import build
    from satisfice.engines import load_engine
    from satisfice.tasks import load_task

__version__ = "0.1.0"

__all__ = [
    "BadInput",
    "Card",
    "Chain",
    "Engine",
    "Ledger",
    "Need",
    "Policy",
    "Problem",
    "Profile",
    "SatisficeError",
    "Session",
    "Solution",
    "Verdict",
    "build",
    "load_engine",
    "load_task",
    "solve",
]

# Loaded when first asked for: each pulls in more than the contracts themselves need.
_LATER = {"build": "satisfice.catalog", "load_engine": "satisfice.engines", "load_task": "satisfice.tasks"}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'satisfice' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
