"""How training feels length: one method per file, each a pure function over a batch of rollouts.

A method that shapes the reward hands it on to the method in its field `advantage`, so that any reward goes with any
way of comparing rollouts: `kimi-length(advantage=rloo)`.
"""

from typing import Any

from satisfice.core.method import Family, Methods
from satisfice.core.shaper import SHAPER, Shaper

_METHODS: Methods[Shaper] = Methods(
    __name__,
    {
        "a-dlp": "a_dlp:ADlp",
        "activevln-early-stop": "activevln_early_stop:ActivevlnEarlyStop",
        "adacot": "adacot:Adacot",
        "adaptive-deep-reasoning": "adaptive_deep_reasoning:AdaptiveDeepReasoning",
        "bingo": "bingo:Bingo",
        "ceeh": "ceeh:Ceeh",
        "conciser-lgrpo": "conciser_lgrpo:ConciserLgrpo",
        "cosine-length": "cosine_length:CosineLength",
        "crm-crf": "crm_crf:CrmCrf",
        "curriculum-budget": "curriculum_budget:CurriculumBudget",
        "da-dler": "da_dler:DaDler",
        "dapo": "dapo:Dapo",
        "dler": "dler:Dler",
        "dot": "dot:Dot",
        "dr-grpo": "dr_grpo:DrGrpo",
        "drpo": "drpo:Drpo",
        "epo": "epo:Epo",
        "format-length-surrogate": "format_length_surrogate:FormatLengthSurrogate",
        "frugal": "frugal:Frugal",
        "grpo": "grpo:Grpo",
        "grpo-lambda": "grpo_lambda:GrpoLambda",
        "kat-step-srpo": "kat_step_srpo:KatStepSrpo",
        "kimi-length": "kimi_length:KimiLength",
        "l1-exact": "l1_exact:L1Exact",
        "l1-max": "l1_max:L1Max",
        "laser": "laser:Laser",
        "laser-d": "laser_d:LaserD",
        "laser-de": "laser_de:LaserDe",
        "longwriter-length": "longwriter_length:LongwriterLength",
        "lp-sigmoid": "lp_sigmoid:LpSigmoid",
        "o1-pruner": "o1_pruner:O1Pruner",
        "odin": "odin:Odin",
        "palu": "palu:Palu",
        "pppo": "pppo:Pppo",
        "rise": "rise:Rise",
        "rloo": "rloo:Rloo",
        "s-grpo": "s_grpo:SGrpo",
        "siri": "siri:Siri",
        "spa": "spa:Spa",
        "spear": "spear:Spear",
        "step-pruner": "step_pruner:StepPruner",
        "t-ppo": "t_ppo:TPpo",
        "thinkprune": "thinkprune:ThinkPrune",
        "tldr": "tldr:Tldr",
        "trajectory-truncation": "trajectory_truncation:TrajectoryTruncation",
        "ulorl": "ulorl:Ulorl",
    },
)
FAMILY = Family(name="shaping", kind=SHAPER, methods=_METHODS)


def __getattr__(name: str) -> Any:
    return _METHODS.class_named(name)
