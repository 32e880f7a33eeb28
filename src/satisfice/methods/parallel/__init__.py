"""How many chains to run, and which answer to take: one policy per file."""

from typing import Any

from satisfice.core.method import Family, Methods
from satisfice.core.session import POLICY, Policy

_METHODS: Methods[Policy] = Methods(
    __name__,
    {
        "adaptive-consistency": "adaptive_consistency:AdaptiveConsistency",
        "batchprompt": "batchprompt:BatchPrompt",
        "cntp": "cntp:Cntp",
        "deepconf": "deepconf:DeepConf",
        "er-prm": "er_prm:ErPrm",
        "first-finish": "first_finish:FirstFinish",
        "fsf-select": "fsf_select:FsfSelect",
        "latent-trajectory": "latent_trajectory:LatentTrajectory",
        "leap": "leap:Leap",
        "nothinking-vote": "nothinking_vote:NoThinkingVote",
        "pdr": "pdr:Pdr",
        "plan-first": "plan_first:PlanFirst",
        "self-consistency": "self_consistency:SelfConsistency",
        "seq-refine": "seq_refine:SeqRefine",
        "st-bon": "st_bon:StBon",
    },
)
FAMILY = Family(name="parallel", kind=POLICY, methods=_METHODS)


def __getattr__(name: str) -> Any:
    return _METHODS.class_named(name)
