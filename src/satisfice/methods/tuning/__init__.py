"""Data that makes a model think shorter: one builder per file, each a pure function from recorded chains to rows.

A builder takes chains that `satisfice record` wrote and returns what a supervised trainer learns: rows in which some
tokens have the loss off, or pairs of a chosen and a rejected row. `satisfice shorten` writes them, with an audit.
"""

from satisfice.core.builder import BUILDER
from satisfice.core.method import Family
from satisfice.methods.tuning.adar1 import Adar1
from satisfice.methods.tuning.concise_data import ConciseData
from satisfice.methods.tuning.concise_pairs import ConcisePairs
from satisfice.methods.tuning.dualformer import Dualformer
from satisfice.methods.tuning.first_correct import FirstCorrect
from satisfice.methods.tuning.first_correct_plus_one import FirstCorrectPlusOne
from satisfice.methods.tuning.first_try_data import FirstTryData
from satisfice.methods.tuning.pir import Pir
from satisfice.methods.tuning.recut import Recut
from satisfice.methods.tuning.self_braking_dynamic import SelfBrakingDynamic
from satisfice.methods.tuning.self_braking_exact import SelfBrakingExact
from satisfice.methods.tuning.self_lengthen import SelfLengthen
from satisfice.methods.tuning.short_long import ShortLong
from satisfice.methods.tuning.step_mask import StepMask
from satisfice.methods.tuning.thought_mask import ThoughtMask

FAMILY = Family(
    name="tuning",
    kind=BUILDER,
    methods={
        "adar1": Adar1,
        "concise-data": ConciseData,
        "concise-pairs": ConcisePairs,
        "dualformer": Dualformer,
        "first-correct": FirstCorrect,
        "first-correct-plus-one": FirstCorrectPlusOne,
        "first-try-data": FirstTryData,
        "pir": Pir,
        "recut": Recut,
        "self-braking-dynamic": SelfBrakingDynamic,
        "self-braking-exact": SelfBrakingExact,
        "self-lengthen": SelfLengthen,
        "short-long": ShortLong,
        "step-mask": StepMask,
        "thought-mask": ThoughtMask,
    },
)

__all__ = [
    "FAMILY",
    "Adar1",
    "ConciseData",
    "ConcisePairs",
    "Dualformer",
    "FirstCorrect",
    "FirstCorrectPlusOne",
    "FirstTryData",
    "Pir",
    "Recut",
    "SelfBrakingDynamic",
    "SelfBrakingExact",
    "SelfLengthen",
    "ShortLong",
    "StepMask",
    "ThoughtMask",
]
