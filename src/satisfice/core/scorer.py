"""Reward models for chains that are under way: what a search over steps asks which of them to keep.

A scorer is any frozen, hashable object with a `card` that can be called as `Scorer` says. For a process reward model of
another library that is a few lines around its forward pass:

    @dataclass(frozen=True, kw_only=True)
    class MyReward:
        card: ClassVar = Card(id="my-reward", paper="", where="my own model", needs=frozenset(), fidelity="standard")

        def __call__(self, question, texts):
            return [model.score(question, text) for text in texts]

    ErPrm(scorer=MyReward())
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from satisfice.core.card import Card
from satisfice.core.method import Kind


class Scorer(Protocol):
    """Rates the beginnings of chains: higher is better, equal texts get equal numbers, any scale.

    `texts` are what was thought so far, without the prompt, often cut in the middle of a step; the answer is one number
    for each, in their order. It must not depend on which other texts are rated with it.
    """

    card: ClassVar[Card]

    def __call__(self, question: str, texts: Sequence[str], /) -> Sequence[float]: ...


SCORER: Kind[Scorer] = Kind(
    name="scorer",
    protocol=Scorer,
    example="pocket-reward",
    about="A scorer is called with a question and texts, `scorer(question, texts)`, and returns a number for each.",
    battery="satisfice.testing.scorers:check_scorer",
)
