"""How training feels length: one method a file, each a pure function over a batch of rollouts.

A method that shapes the reward hands it on to the method in its field `advantage`, so that any reward goes with any
way of comparing rollouts: `kimi-length(advantage=rloo)`.
"""

from collections.abc import Mapping

from satisfice.core.shaper import Shaper
from satisfice.shaping.grpo import Grpo
from satisfice.shaping.kimi_length import KimiLength

METHODS: Mapping[str, type[Shaper]] = {
    "grpo": Grpo,
    "kimi-length": KimiLength,
}

__all__ = ["METHODS", "Grpo", "KimiLength"]
