"""When one chain has thought enough: one rule a file."""

from collections.abc import Mapping

from satisfice.core.session import Policy
from satisfice.stopping.deer import Deer
from satisfice.stopping.es_cot import EsCot
from satisfice.stopping.first_cue import FirstCue
from satisfice.stopping.fixed_budget import FixedBudget
from satisfice.stopping.full import Full
from satisfice.stopping.no_thinking import NoThinking

METHODS: Mapping[str, type[Policy]] = {
    "deer": Deer,
    "es-cot": EsCot,
    "first-cue": FirstCue,
    "fixed-budget": FixedBudget,
    "full": Full,
    "nothinking": NoThinking,
}

__all__ = ["METHODS", "Deer", "EsCot", "FirstCue", "FixedBudget", "Full", "NoThinking"]
