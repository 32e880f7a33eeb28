"""How good a chain looks while it is under way: reward models for searches over steps, one per file."""

from typing import Any

from satisfice.core.method import Family, Methods
from satisfice.core.scorer import SCORER, Scorer

_METHODS: Methods[Scorer] = Methods(
    __name__,
    {
        "pocket-reward": "pocket_reward:PocketReward",
    },
)
FAMILY = Family(name="scoring", kind=SCORER, methods=_METHODS)


def __getattr__(name: str) -> Any:
    return _METHODS.class_named(name)
