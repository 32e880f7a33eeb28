"""Columns that several shapers read."""

import numpy as np

from satisfice.core.rollouts import Column

ANSWER_FOUND = Column(
    "answer_found",
    "an answer can be read from the output",
    example=lambda some: some.correct | (some.share > 0.5),
)
BUDGET = Column(
    "budget",
    "tokens that the prompt asked for",
    example=lambda some: np.round(10 + 8000 * some.group),
)
MODE = Column(
    "mode",
    "how the rollout was to think: 0 direct or short, 1 at length",
    example=lambda some: some.share > 0.5,
)
NEEDS_THINKING = Column(
    "needs_thinking",
    "the prompt is labelled as one that needs thinking",
    example=lambda some: some.group > 0.5,
)
REPETITIVE = Column(
    "repetitive",
    "the rollout goes in circles",
    example=lambda some: ~some.correct & (some.share > 0.7),
)
SCORE = Column(
    "score",
    "what a reward model or judge says of the rollout",
    example=lambda some: 0.1 + 0.9 * some.share,
)
THINKING_CLOSED = Column(
    "thinking_closed",
    "the thinking was opened and closed as it should be",
    example=lambda some: ~some.truncated,
)
WELL_FORMED = Column(
    "well_formed",
    "the whole output has the form that was asked for",
    example=lambda some: ~some.truncated & (some.correct | (some.share > 0.3)),
)
