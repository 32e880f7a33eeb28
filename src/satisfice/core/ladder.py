"""Settings of a rule that a search tries, the safest first: declared in the rule's own file."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Values of one field, the safest first, with other fields fixed.

    A search goes down a ladder and ends where a value may lose too much. `counts` names a field that counts thinking
    tokens, so its values depend on how long a model thinks: it takes the distance between a recording's checkpoints,
    or, where it is the field itself, its multiples.
    """

    field: str
    values: tuple[float, ...] = ()
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    counts: str = ""
