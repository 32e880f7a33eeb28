"""Data that makes a model think shorter: one builder per file, each a pure function from recorded chains to rows.

A builder takes chains that `satisfice record` wrote and returns what a supervised trainer learns: rows in which some
tokens have the loss off, or pairs of a chosen and a rejected row. `satisfice shorten` writes them, with an audit.
"""

from typing import Any

from satisfice.core.builder import BUILDER, Builder
from satisfice.core.method import Family, Methods

_METHODS: Methods[Builder] = Methods(
    __name__,
    {
        "adar1": "adar1:Adar1",
        "concise-data": "concise_data:ConciseData",
        "concise-pairs": "concise_pairs:ConcisePairs",
        "dualformer": "dualformer:Dualformer",
        "first-correct": "first_correct:FirstCorrect",
        "first-correct-plus-one": "first_correct_plus_one:FirstCorrectPlusOne",
        "first-try-data": "first_try_data:FirstTryData",
        "length-priming": "length_priming:LengthPriming",
        "pir": "pir:Pir",
        "recut": "recut:Recut",
        "self-braking-dynamic": "self_braking_dynamic:SelfBrakingDynamic",
        "self-braking-exact": "self_braking_exact:SelfBrakingExact",
        "self-lengthen": "self_lengthen:SelfLengthen",
        "short-long": "short_long:ShortLong",
        "step-mask": "step_mask:StepMask",
        "thought-mask": "thought_mask:ThoughtMask",
    },
)
FAMILY = Family(name="tuning", kind=BUILDER, methods=_METHODS)


def __getattr__(name: str) -> Any:
    return _METHODS.class_named(name)
