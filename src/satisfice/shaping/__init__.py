"""How training feels length: one method a file, each a pure function over a batch of rollouts.

A method that shapes the reward hands it on to the method in its field `advantage`, so that any reward goes with any
way of comparing rollouts: `kimi-length(advantage=rloo)`.
"""

from collections.abc import Mapping

from satisfice.core.shaper import Shaper
from satisfice.shaping.dapo import Dapo
from satisfice.shaping.dr_grpo import DrGrpo
from satisfice.shaping.grpo import Grpo
from satisfice.shaping.kimi_length import KimiLength
from satisfice.shaping.l1_exact import L1Exact
from satisfice.shaping.l1_max import L1Max
from satisfice.shaping.lp_sigmoid import LpSigmoid
from satisfice.shaping.o1_pruner import O1Pruner
from satisfice.shaping.rloo import Rloo
from satisfice.shaping.thinkprune import ThinkPrune

METHODS: Mapping[str, type[Shaper]] = {
    "dapo": Dapo,
    "dr-grpo": DrGrpo,
    "grpo": Grpo,
    "kimi-length": KimiLength,
    "l1-exact": L1Exact,
    "l1-max": L1Max,
    "lp-sigmoid": LpSigmoid,
    "o1-pruner": O1Pruner,
    "rloo": Rloo,
    "thinkprune": ThinkPrune,
}

__all__ = [
    "METHODS",
    "Dapo",
    "DrGrpo",
    "Grpo",
    "KimiLength",
    "L1Exact",
    "L1Max",
    "LpSigmoid",
    "O1Pruner",
    "Rloo",
    "ThinkPrune",
]
