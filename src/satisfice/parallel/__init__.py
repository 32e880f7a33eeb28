"""How many chains to run, and which answer to take: one policy a file."""

from collections.abc import Mapping

from satisfice.core.session import Policy
from satisfice.parallel.first_finish import FirstFinish
from satisfice.parallel.self_consistency import SelfConsistency

METHODS: Mapping[str, type[Policy]] = {
    "first-finish": FirstFinish,
    "self-consistency": SelfConsistency,
}

__all__ = ["METHODS", "FirstFinish", "SelfConsistency"]
