"""When one chain has thought enough: one rule per file."""

from typing import Any

from satisfice.core.method import Family, Methods
from satisfice.core.session import POLICY, Policy

_METHODS: Methods[Policy] = Methods(
    __name__,
    {
        "answer-consistency": "answer_consistency:AnswerConsistency",
        "concise": "concise:Concise",
        "deepconf-line": "deepconf_line:DeepConfLine",
        "deer": "deer:Deer",
        "deer-pro": "deer_pro:DeerPro",
        "dynasor-cot": "dynasor_cot:DynasorCot",
        "end-mass": "end_mass:EndMass",
        "entropy-reduction": "entropy_reduction:EntropyReduction",
        "entropy-settled": "entropy_settled:EntropySettled",
        "eot-temperature": "eot_temperature:EotTemperature",
        "es-cot": "es_cot:EsCot",
        "first-cue": "first_cue:FirstCue",
        "first-try": "first_try:FirstTry",
        "fixed-budget": "fixed_budget:FixedBudget",
        "full": "full:Full",
        "knowing-before-saying": "knowing_before_saying:KnowingBeforeSaying",
        "loop-guard": "loop_guard:LoopGuard",
        "lynx": "lynx:Lynx",
        "no-wait": "no_wait:NoWait",
        "nothinking": "no_thinking:NoThinking",
        "s1-budget-forcing": "budget_forcing:BudgetForcing",
        "server-thinking-budget": "server_thinking_budget:ServerThinkingBudget",
        "specexit": "specexit:SpecExit",
        "stop-value": "stop_value:StopValue",
    },
)
FAMILY = Family(name="stopping", kind=POLICY, methods=_METHODS)


def __getattr__(name: str) -> Any:
    return _METHODS.class_named(name)
