"""How many chains to run, and which answer to take: one policy a file."""

from collections.abc import Mapping

from satisfice.core.session import Policy
from satisfice.parallel.adaptive_consistency import AdaptiveConsistency
from satisfice.parallel.batchprompt import BatchPrompt
from satisfice.parallel.cntp import Cntp
from satisfice.parallel.deepconf import DeepConf
from satisfice.parallel.er_prm import ErPrm
from satisfice.parallel.first_finish import FirstFinish
from satisfice.parallel.fsf_select import FsfSelect
from satisfice.parallel.latent_trajectory import LatentTrajectory
from satisfice.parallel.leap import Leap
from satisfice.parallel.nothinking_vote import NoThinkingVote
from satisfice.parallel.pdr import Pdr
from satisfice.parallel.plan_first import PlanFirst
from satisfice.parallel.self_consistency import SelfConsistency
from satisfice.parallel.seq_refine import SeqRefine
from satisfice.parallel.st_bon import StBon

METHODS: Mapping[str, type[Policy]] = {
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
}

__all__ = [
    "METHODS",
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
