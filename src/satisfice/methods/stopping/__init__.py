"""When one chain has thought enough: one rule per file."""

from satisfice.core.method import Family
from satisfice.core.session import POLICY
from satisfice.methods.stopping.answer_consistency import AnswerConsistency
from satisfice.methods.stopping.budget_forcing import BudgetForcing
from satisfice.methods.stopping.concise import Concise
from satisfice.methods.stopping.deer import Deer
from satisfice.methods.stopping.deer_pro import DeerPro
from satisfice.methods.stopping.dynasor_cot import DynasorCot
from satisfice.methods.stopping.entropy_reduction import EntropyReduction
from satisfice.methods.stopping.eot_temperature import EotTemperature
from satisfice.methods.stopping.es_cot import EsCot
from satisfice.methods.stopping.first_cue import FirstCue
from satisfice.methods.stopping.first_try import FirstTry
from satisfice.methods.stopping.fixed_budget import FixedBudget
from satisfice.methods.stopping.full import Full
from satisfice.methods.stopping.knowing_before_saying import KnowingBeforeSaying
from satisfice.methods.stopping.loop_guard import LoopGuard
from satisfice.methods.stopping.lynx import Lynx
from satisfice.methods.stopping.no_thinking import NoThinking
from satisfice.methods.stopping.no_wait import NoWait
from satisfice.methods.stopping.server_thinking_budget import ServerThinkingBudget
from satisfice.methods.stopping.specexit import SpecExit

FAMILY = Family(
    name="stopping",
    kind=POLICY,
    methods={
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
    },
)

__all__ = [
    "FAMILY",
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
