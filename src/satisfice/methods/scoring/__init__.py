"""How good a chain looks while it is under way: reward models for searches over steps, one per file."""

from satisfice.core.method import Family
from satisfice.core.scorer import SCORER
from satisfice.methods.scoring.pocket_reward import PocketReward

FAMILY = Family(
    name="scoring",
    kind=SCORER,
    methods={"pocket-reward": PocketReward},
)

__all__ = ["FAMILY", "PocketReward"]
