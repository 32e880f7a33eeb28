"""How many chains to run, and which answer to take: one policy per file."""

from satisfice.core.method import Family
from satisfice.core.session import POLICY
from satisfice.methods.parallel.adaptive_consistency import AdaptiveConsistency
from satisfice.methods.parallel.batchprompt import BatchPrompt
from satisfice.methods.parallel.cntp import Cntp
from satisfice.methods.parallel.deepconf import DeepConf
from satisfice.methods.parallel.er_prm import ErPrm
from satisfice.methods.parallel.first_finish import FirstFinish
from satisfice.methods.parallel.fsf_select import FsfSelect
from satisfice.methods.parallel.latent_trajectory import LatentTrajectory
from satisfice.methods.parallel.leap import Leap
from satisfice.methods.parallel.nothinking_vote import NoThinkingVote
from satisfice.methods.parallel.pdr import Pdr
from satisfice.methods.parallel.plan_first import PlanFirst
from satisfice.methods.parallel.self_consistency import SelfConsistency
from satisfice.methods.parallel.seq_refine import SeqRefine
from satisfice.methods.parallel.st_bon import StBon

FAMILY = Family(
    name="parallel",
    kind=POLICY,
    methods={
        "adaptive-consistency": AdaptiveConsistency,
        "batchprompt": BatchPrompt,
        "cntp": Cntp,
        "deepconf": DeepConf,
        "er-prm": ErPrm,
        "first-finish": FirstFinish,
        "fsf-select": FsfSelect,
        "latent-trajectory": LatentTrajectory,
        "leap": Leap,
        "nothinking-vote": NoThinkingVote,
        "pdr": Pdr,
        "plan-first": PlanFirst,
        "self-consistency": SelfConsistency,
        "seq-refine": SeqRefine,
        "st-bon": StBon,
    },
)

__all__ = [
    "FAMILY",
    "AdaptiveConsistency",
    "BatchPrompt",
    "Cntp",
    "DeepConf",
    "ErPrm",
    "FirstFinish",
    "FsfSelect",
    "LatentTrajectory",
    "Leap",
    "NoThinkingVote",
    "Pdr",
    "PlanFirst",
    "SelfConsistency",
    "SeqRefine",
    "StBon",
]
