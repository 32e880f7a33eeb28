"""Never let the model say "wait"."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.errors import Unfit
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session
from satisfice.core.stepping import Hold, Move, Place, Rows, Vocabulary
from satisfice.methods.stopping.stepwise import follow
from satisfice.methods.stopping.trial import word_ids


@dataclass(frozen=True, kw_only=True)
class NoWaitWords:
    """What it looks for; a model's `profile.json` may say otherwise under `rules`."""

    reflections: tuple[str, ...] = (  # with which models of the R1 family begin a second look
        "wait", "alternatively", "hmm", "but", "however", "alternative", "another", "check", "double", "oh", "maybe",
        "verify", "other", "again", "now", "ah", "any",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NoWait:
    """Never let the model say "wait": the words with which it begins a second look are suppressed while it thinks.

    The score of every token that is one of `NoWaitWords.reflections`, in whatever case and with or without a space
    before it, is lowered by `strength`. The visible answer is written without that.

    Reported to keep accuracy on models trained by reinforcement and to hurt small distilled ones. Known from a digest:
    the words are the paper's own list, which is for models of the R1 family.
    """

    card: ClassVar = Card(
        id="no-wait",
        paper="arXiv:2506.08343",
        where="suppressed keywords, from a digest of the paper",
        needs=frozenset({Need.LOGITS}),
        fidelity="second-hand",
        ours=("strength",),
    )
    words: ClassVar = NoWaitWords()
    at: ClassVar[Place] = "token"
    line: ClassVar = None
    measure: ClassVar = "thinking tokens"

    strength: Annotated[float, Range(0, 100)] = 100.0  # nats taken off the score; 100 is never

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        return await follow(self, session)

    def step(self, rows: Rows) -> Move:
        """Never close; lower the scores of all its words, always."""
        never = np.zeros(len(rows.thought), dtype=bool)
        return Move(close=never, value=rows.thought, bias=np.full((len(never), len(rows.targets)), -self.strength))

    def hold(self, thought: int, targets: tuple[int, ...]) -> Hold:
        """Nothing ever changes."""
        return Hold()

    def targets(self, words: Vocabulary) -> tuple[int, ...]:
        """The reflection words that are single tokens."""
        own = words.profile.words(self.card.id, self.words)
        suppressed = word_ids(words, own.reflections)
        if not suppressed:
            raise Unfit(f"no-wait: none of {words.profile.name}'s reflection words is a single token of this model.")
        return tuple(sorted(suppressed))
