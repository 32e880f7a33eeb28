"""A rule made ready for one model's tokens: what a sampler has to look for, as tables over the vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from satisfice.core.engine import Watch
from satisfice.core.errors import Unfit
from satisfice.core.profile import Profile
from satisfice.core.stepping import Biased, Stepping
from satisfice.engines.stops import could_end
from satisfice.methods.stopping.trial import cue_ids
from satisfice.models.words import TokenizerWords

CUE, BARE, WORD, CLOSE, OPEN, STEP = (1 << bit for bit in range(6))
"""What a token may mean: it is a cue; it is one unless a letter stands before it; it ends in a letter or digit; the end
of thinking, its beginning, the delimiter of a step may end in it."""


class ModelWords:
    """A model's tokens, as rules and samplers ask about them; `size` is that of the vocabulary."""

    def __init__(self, folder: Path, size: int, profile: Profile | None = None) -> None:
        self._words = TokenizerWords(folder)
        self.size, self.profile = size, profile or self._words.profile
        self.encode, self.decode = self._words.encode, self._words.decode
        self.closing = tuple(self.encode(self.profile.close_thinking))
        close = self.encode(self.profile.think_close)
        self.close_id = close[0] if len(close) == 1 else None  # where the end of thinking is one token
        self.end_id = close[0]  # with which it begins

    @cached_property
    def flags(self) -> NDArray[np.uint8]:
        """What each token may mean, `[size]`."""
        profile = self.profile
        close, begin, step = (profile.think_close,), (profile.think_open.rstrip(),), (profile.step,)
        texts = (self.decode([token]) for token in range(self.size))
        return np.array([
            _cue(text, profile.cues) | WORD * text[-1:].isalnum() | CLOSE * could_end(text, close)
            | OPEN * could_end(text, begin) | STEP * could_end(text, step)
            for text in texts
        ], dtype=np.uint8)  # fmt: skip

    @cached_property
    def cues(self) -> NDArray[np.int64]:
        """Tokens that are cues, whatever stands before them."""
        return np.flatnonzero(self.flags & CUE)

    @cached_property
    def bare(self) -> NDArray[np.int64]:
        """Tokens that are cues where no letter stands before them."""
        return np.flatnonzero(self.flags & BARE)

    @cached_property
    def doubts(self) -> NDArray[np.int64]:
        """Tokens that are a cue by themselves: those whose mass `Rows.doubts` is."""
        return np.array(sorted(cue_ids(self)), dtype=np.int64)

    def begins(self, prompt: Sequence[int]) -> bool:
        """Return whether thinking is open at the end of a prompt."""
        text = self.decode(list(prompt))
        return text.rfind(self.profile.think_open.rstrip()) > text.rfind(self.profile.think_close.strip())


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A rule and what it looks at in one model's scores."""

    rule: Stepping
    targets: tuple[int, ...]
    watch: Watch | None
    masses: bool


def fit(rule: Stepping, words: ModelWords) -> Fitted:
    """Make a rule ready for a model.

    Raises:
        Unfit: the model has no token that the rule looks for.
    """
    targets = rule.targets(words) if isinstance(rule, Biased) else ()
    hold = rule.hold(0, targets)
    if rule.at == "cue" and not (len(words.cues) or len(words.bare)):
        cues = ", ".join(words.profile.cues)
        raise Unfit(
            f"{rule.card.id}: none of {words.profile.name}'s cues ({cues}) is a single token of this model, so a "
            "sampler cannot tell that one comes. Use a rule that does not look at cues, or the gateway."
        )
    return Fitted(rule=rule, targets=targets, watch=hold.watch, masses=hold.masses)


def _cue(text: str, cues: Sequence[str]) -> int:
    """Return whether a token is a cue: a word of its own, as far as its own text tells."""
    for cue in cues:
        before, found, after = text.partition(cue)
        if found and not (cue[-1:].isalnum() and after[:1].isalnum()) and not before[-1:].isalnum():
            return CUE if before or not cue[:1].isalnum() else BARE
    return 0
