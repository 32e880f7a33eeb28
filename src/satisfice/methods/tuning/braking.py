"""What the two self-braking builders measure: how much of a chain comes after its first solution."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from satisfice.core.errors import BadInput
from satisfice.core.trace import Trace

MARKERS = (
    "Another", "Backtrack", "But", "Check", "Going back", "Hmm", "Hmmm", "However", "Hold on", "Instead of",
    "Just to be thorough", "Just to make sure", "Let me check", "Let me just double-check", "Let me try another",
    "Let me verify", "Maybe I can consider", "Maybe I should consider", "Might", "Not sure", "Perhaps", "Recheck",
    "Retry", "Trace back", "Wait",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BrakingWords:
    """What it counts and puts in; a model's `profile.json` may say otherwise under `rules`."""

    markers: tuple[str, ...] = MARKERS  # words and phrases of second thoughts, whole words in any case
    brake: str = "Wait, I have come to the same answer several times. It is time to stop thinking."


def overthink_score(first_step: int, steps: int, marker_tokens: int, tokens: int, beta: float = 0.1) -> float:
    """Return how much of one response is surplus: steps after the first right answer, and markers of reflection.

        eta_s = FS / TS,   kappa_t = marker tokens / tokens,   score = beta kappa_t + (1 - beta)(1 - eta_s)

    `first_step` FS of `steps` TS is the first with the right answer; without one the score is undefined, so there is
    nothing to call this with (arXiv:2505.14604).

    >>> round(overthink_score(6, 10, 3, 100), 3), round(overthink_score(4, 16, 5, 100), 3)
    (0.363, 0.68)
    """
    if not 1 <= first_step <= steps or tokens < 1:
        raise BadInput(f"overthink_score: first_step must be from 1 to steps={steps}, got {first_step}.")
    return beta * marker_tokens / tokens + (1 - beta) * (1 - first_step / steps)


class Brake(NamedTuple):
    """Where dynamic braking stops a chain, in steps that were added to the first solution."""

    trained: int  # of the steps that are kept, those with the loss on
    kept: int


def dynamic_brake(
    first_steps: int,
    tokens: int,
    added: Sequence[tuple[int, int]],
    *,
    threshold: float = 0.2,
    margin: float = 0.05,
    beta: float = 0.1,
) -> Brake | None:
    """Return how many of the steps that follow the first solution are kept, and how many of these are trained on.

    `first_steps` and `tokens` are those of the first solution; `added` gives tokens and marker tokens of each further
    step. After each the score is `overthink_score` of all so far, markers of the added steps alone. The first step
    whose score is at least `threshold` is the last that is trained on; the first whose score is above `threshold +
    margin` is the last that is kept. None: the second is never reached.

    >>> dynamic_brake(8, 800, [(60, 2), (70, 3), (50, 4), (90, 3)])
    Brake(trained=3, kept=4)
    """
    trained, marked = None, 0
    for n, (size, markers) in enumerate(added, 1):
        tokens, marked = tokens + size, marked + markers
        score = overthink_score(first_steps, first_steps + n, marked, tokens, beta)
        if trained is None and score >= threshold:
            trained = n
        if score > threshold + margin and trained is not None:
            return Brake(trained, n)
    return None


def marker_tokens(trace: Trace, markers: Sequence[str], begin: int, end: int) -> int:
    """Return how many of some tokens of a chain belong to markers; each is counted once."""
    words = "|".join(sorted(map(re.escape, filter(None, markers)), key=len, reverse=True))
    if not words:
        return 0
    found: set[int] = set()
    for hit in re.finditer(rf"\b(?:{words})\b", trace.text(0, trace.thinking), re.IGNORECASE):
        found.update(range(*trace.tokens_over(*hit.span())))
    return sum(begin <= at < end for at in found)


def steps_between(trace: Trace, begin: int, end: int) -> list[tuple[int, int]]:
    """Return the steps that lie within some tokens of a chain, those that reach over an edge cut there."""
    return [(max(a, begin), min(b, end)) for a, b in trace.steps if a < end and b > begin]


def first_sentences(trace: Trace, begin: int, end: int, n: int) -> int:
    """Return where the first `n` sentences of some tokens end; a sentence ends with a full stop or with a step."""
    text = trace.text(begin, end)
    mark = re.escape(trace.profile.step) if trace.profile.step else r"(?!)"
    stops = [hit.end() for hit in re.finditer(rf"[.!?]+\s+|{mark}|\Z", text) if hit.end() > 0]
    if len(stops) < n:
        return end
    base = trace.offsets[begin]
    return min(end, trace.tokens_over(base + stops[n - 1] - 1, base + stops[n - 1])[1])
