"""What a training tells whoever watches it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """What a training tells whoever watches it. All optional."""

    start: Callable[[int, int], None] = lambda done, size: None  # steps done in an earlier run, steps in all
    step: Callable[[dict[str, Any]], None] = lambda row: None  # figures of a step
    note: Callable[[str], None] = lambda text: None  # something a person should know
