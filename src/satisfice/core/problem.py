"""What is asked, and what became of the answer."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One question with its reference answer.

    `task` is the versioned name of where it came from (`chain-sum:hard@1`), `id` is unique within that task and
    never changes for the same question, so that rows of two runs can be paired.
    """

    id: str
    task: str
    question: str
    answer: str
    metadata: Mapping[str, Any] = field(default_factory=dict)  # what the verifier of the task needs, JSON-able


class Verdict(enum.StrEnum):
    """Right, wrong, or unknown: a verifier that failed says `UNKNOWN`, which is never counted as a score."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"
