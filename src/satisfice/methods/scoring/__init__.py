"""How good a chain looks while it is under way: reward models for searches over steps, one a file."""

from collections.abc import Mapping

from satisfice.core.scorer import Scorer
from satisfice.methods.scoring.pocket_reward import PocketReward

METHODS: Mapping[str, type[Scorer]] = {"pocket-reward": PocketReward}

__all__ = ["METHODS", "PocketReward"]
