"""When one chain has thought enough: one rule a file."""

from collections.abc import Mapping

from satisfice.core.session import Policy
from satisfice.stopping.answer_consistency import AnswerConsistency
from satisfice.stopping.budget_forcing import BudgetForcing
from satisfice.stopping.concise import Concise
from satisfice.stopping.deer import Deer
from satisfice.stopping.deer_pro import DeerPro
from satisfice.stopping.dynasor_cot import DynasorCot
from satisfice.stopping.entropy_reduction import EntropyReduction
from satisfice.stopping.eot_temperature import EotTemperature
from satisfice.stopping.es_cot import EsCot
from satisfice.stopping.first_cue import FirstCue
from satisfice.stopping.first_try import FirstTry
from satisfice.stopping.fixed_budget import FixedBudget
from satisfice.stopping.full import Full
from satisfice.stopping.knowing_before_saying import KnowingBeforeSaying
from satisfice.stopping.loop_guard import LoopGuard
from satisfice.stopping.lynx import Lynx
from satisfice.stopping.no_thinking import NoThinking
from satisfice.stopping.no_wait import NoWait
from satisfice.stopping.server_thinking_budget import ServerThinkingBudget
from satisfice.stopping.specexit import SpecExit

METHODS: Mapping[str, type[Policy]] = {
    "answer-consistency": AnswerConsistency,
    "concise": Concise,
    "deer": Deer,
    "deer-pro": DeerPro,
    "dynasor-cot": DynasorCot,
    "entropy-reduction": EntropyReduction,
    "eot-temperature": EotTemperature,
    "es-cot": EsCot,
    "first-cue": FirstCue,
    "first-try": FirstTry,
    "fixed-budget": FixedBudget,
    "full": Full,
    "knowing-before-saying": KnowingBeforeSaying,
    "loop-guard": LoopGuard,
    "lynx": Lynx,
    "no-wait": NoWait,
    "nothinking": NoThinking,
    "s1-budget-forcing": BudgetForcing,
    "server-thinking-budget": ServerThinkingBudget,
    "specexit": SpecExit,
}

__all__ = [
    "METHODS",
    "AnswerConsistency",
    "BudgetForcing",
    "Concise",
    "Deer",
    "DeerPro",
    "DynasorCot",
    "EntropyReduction",
    "EotTemperature",
    "EsCot",
    "FirstCue",
    "FirstTry",
    "FixedBudget",
    "Full",
    "KnowingBeforeSaying",
    "LoopGuard",
    "Lynx",
    "NoThinking",
    "NoWait",
    "ServerThinkingBudget",
    "SpecExit",
]
