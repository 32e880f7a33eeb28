"""How training feels length: one method per file, each a pure function over a batch of rollouts.

A method that shapes the reward hands it on to the method in its field `advantage`, so that any reward goes with any
way of comparing rollouts: `kimi-length(advantage=rloo)`.
"""

from satisfice.core.method import Family
from satisfice.core.shaper import SHAPER
from satisfice.methods.shaping.a_dlp import ADlp
from satisfice.methods.shaping.activevln_early_stop import ActivevlnEarlyStop
from satisfice.methods.shaping.adacot import Adacot
from satisfice.methods.shaping.adaptive_deep_reasoning import AdaptiveDeepReasoning
from satisfice.methods.shaping.bingo import Bingo
from satisfice.methods.shaping.ceeh import Ceeh
from satisfice.methods.shaping.conciser_lgrpo import ConciserLgrpo
from satisfice.methods.shaping.cosine_length import CosineLength
from satisfice.methods.shaping.crm_crf import CrmCrf
from satisfice.methods.shaping.curriculum_budget import CurriculumBudget
from satisfice.methods.shaping.da_dler import DaDler
from satisfice.methods.shaping.dapo import Dapo
from satisfice.methods.shaping.dler import Dler
from satisfice.methods.shaping.dot import Dot
from satisfice.methods.shaping.dr_grpo import DrGrpo
from satisfice.methods.shaping.drpo import Drpo
from satisfice.methods.shaping.epo import Epo
from satisfice.methods.shaping.format_length_surrogate import FormatLengthSurrogate
from satisfice.methods.shaping.frugal import Frugal
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.grpo_lambda import GrpoLambda
from satisfice.methods.shaping.kat_step_srpo import KatStepSrpo
from satisfice.methods.shaping.kimi_length import KimiLength
from satisfice.methods.shaping.l1_exact import L1Exact
from satisfice.methods.shaping.l1_max import L1Max
from satisfice.methods.shaping.laser import Laser
from satisfice.methods.shaping.laser_d import LaserD
from satisfice.methods.shaping.laser_de import LaserDe
from satisfice.methods.shaping.longwriter_length import LongwriterLength
from satisfice.methods.shaping.lp_sigmoid import LpSigmoid
from satisfice.methods.shaping.o1_pruner import O1Pruner
from satisfice.methods.shaping.odin import Odin
from satisfice.methods.shaping.palu import Palu
from satisfice.methods.shaping.pppo import Pppo
from satisfice.methods.shaping.rise import Rise
from satisfice.methods.shaping.rloo import Rloo
from satisfice.methods.shaping.s_grpo import SGrpo
from satisfice.methods.shaping.siri import Siri
from satisfice.methods.shaping.spa import Spa
from satisfice.methods.shaping.spear import Spear
from satisfice.methods.shaping.step_pruner import StepPruner
from satisfice.methods.shaping.t_ppo import TPpo
from satisfice.methods.shaping.thinkprune import ThinkPrune
from satisfice.methods.shaping.tldr import Tldr
from satisfice.methods.shaping.trajectory_truncation import TrajectoryTruncation
from satisfice.methods.shaping.ulorl import Ulorl

FAMILY = Family(
    name="shaping",
    kind=SHAPER,
    methods={
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
    },
)

__all__ = [
    "FAMILY",
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
