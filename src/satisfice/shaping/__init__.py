"""How training feels length: one method a file, each a pure function over a batch of rollouts.

A method that shapes the reward hands it on to the method in its field `advantage`, so that any reward goes with any
way of comparing rollouts: `kimi-length(advantage=rloo)`.
"""

from collections.abc import Mapping

from satisfice.core.shaper import Shaper
from satisfice.shaping.a_dlp import ADlp
from satisfice.shaping.activevln_early_stop import ActivevlnEarlyStop
from satisfice.shaping.adacot import Adacot
from satisfice.shaping.adaptive_deep_reasoning import AdaptiveDeepReasoning
from satisfice.shaping.bingo import Bingo
from satisfice.shaping.ceeh import Ceeh
from satisfice.shaping.conciser_lgrpo import ConciserLgrpo
from satisfice.shaping.cosine_length import CosineLength
from satisfice.shaping.crm_crf import CrmCrf
from satisfice.shaping.curriculum_budget import CurriculumBudget
from satisfice.shaping.da_dler import DaDler
from satisfice.shaping.dapo import Dapo
from satisfice.shaping.dler import Dler
from satisfice.shaping.dot import Dot
from satisfice.shaping.dr_grpo import DrGrpo
from satisfice.shaping.drpo import Drpo
from satisfice.shaping.epo import Epo
from satisfice.shaping.format_length_surrogate import FormatLengthSurrogate
from satisfice.shaping.frugal import Frugal
from satisfice.shaping.grpo import Grpo
from satisfice.shaping.grpo_lambda import GrpoLambda
from satisfice.shaping.kat_step_srpo import KatStepSrpo
from satisfice.shaping.kimi_length import KimiLength
from satisfice.shaping.l1_exact import L1Exact
from satisfice.shaping.l1_max import L1Max
from satisfice.shaping.laser import Laser
from satisfice.shaping.laser_d import LaserD
from satisfice.shaping.laser_de import LaserDe
from satisfice.shaping.longwriter_length import LongwriterLength
from satisfice.shaping.lp_sigmoid import LpSigmoid
from satisfice.shaping.o1_pruner import O1Pruner
from satisfice.shaping.odin import Odin
from satisfice.shaping.palu import Palu
from satisfice.shaping.pppo import Pppo
from satisfice.shaping.rise import Rise
from satisfice.shaping.rloo import Rloo
from satisfice.shaping.s_grpo import SGrpo
from satisfice.shaping.siri import Siri
from satisfice.shaping.spa import Spa
from satisfice.shaping.spear import Spear
from satisfice.shaping.step_pruner import StepPruner
from satisfice.shaping.t_ppo import TPpo
from satisfice.shaping.thinkprune import ThinkPrune
from satisfice.shaping.tldr import Tldr
from satisfice.shaping.trajectory_truncation import TrajectoryTruncation
from satisfice.shaping.ulorl import Ulorl

METHODS: Mapping[str, type[Shaper]] = {
    "a-dlp": ADlp,
    "activevln-early-stop": ActivevlnEarlyStop,
    "adacot": Adacot,
    "adaptive-deep-reasoning": AdaptiveDeepReasoning,
    "bingo": Bingo,
    "ceeh": Ceeh,
    "conciser-lgrpo": ConciserLgrpo,
    "cosine-length": CosineLength,
    "crm-crf": CrmCrf,
    "curriculum-budget": CurriculumBudget,
    "da-dler": DaDler,
    "dapo": Dapo,
    "dler": Dler,
    "dot": Dot,
    "dr-grpo": DrGrpo,
    "drpo": Drpo,
    "epo": Epo,
    "format-length-surrogate": FormatLengthSurrogate,
    "frugal": Frugal,
    "grpo": Grpo,
    "grpo-lambda": GrpoLambda,
    "kat-step-srpo": KatStepSrpo,
    "kimi-length": KimiLength,
    "l1-exact": L1Exact,
    "l1-max": L1Max,
    "laser": Laser,
    "laser-d": LaserD,
    "laser-de": LaserDe,
    "longwriter-length": LongwriterLength,
    "lp-sigmoid": LpSigmoid,
    "o1-pruner": O1Pruner,
    "odin": Odin,
    "palu": Palu,
    "pppo": Pppo,
    "rise": Rise,
    "rloo": Rloo,
    "s-grpo": SGrpo,
    "siri": Siri,
    "spa": Spa,
    "spear": Spear,
    "step-pruner": StepPruner,
    "t-ppo": TPpo,
    "thinkprune": ThinkPrune,
    "tldr": Tldr,
    "trajectory-truncation": TrajectoryTruncation,
    "ulorl": Ulorl,
}

__all__ = [
    "METHODS",
    "ADlp",
    "ActivevlnEarlyStop",
    "Adacot",
    "AdaptiveDeepReasoning",
    "Bingo",
    "Ceeh",
    "ConciserLgrpo",
    "CosineLength",
    "CrmCrf",
    "CurriculumBudget",
    "DaDler",
    "Dapo",
    "Dler",
    "Dot",
    "DrGrpo",
    "Drpo",
    "Epo",
    "FormatLengthSurrogate",
    "Frugal",
    "Grpo",
    "GrpoLambda",
    "KatStepSrpo",
    "KimiLength",
    "L1Exact",
    "L1Max",
    "Laser",
    "LaserD",
    "LaserDe",
    "LongwriterLength",
    "LpSigmoid",
    "O1Pruner",
    "Odin",
    "Palu",
    "Pppo",
    "Rise",
    "Rloo",
    "SGrpo",
    "Siri",
    "Spa",
    "Spear",
    "StepPruner",
    "TPpo",
    "ThinkPrune",
    "Tldr",
    "TrajectoryTruncation",
    "Ulorl",
]
