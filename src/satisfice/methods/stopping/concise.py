"""Ask the model, after each step, whether it is sure; say so for it where it would doubt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals
from satisfice.core.errors import Unfit
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session
from satisfice.methods.stopping.trial import is_word, word_ids

TOP = 20  # likeliest tokens that are read; what servers give


@dataclass(frozen=True, kw_only=True)
class ConciseWords:
    """What it asks, looks for and puts in; a model's `profile.json` may say otherwise under `rules`."""

    ask_certainty: str = ""  # put into a copy; whether the next word is a sure or a doubting one tells certainty
    sure_words: tuple[str, ...] = ("Great", "Perfect", "Therefore", "Thus", "</think>")
    doubting_words: tuple[str, ...] = ("Wait", "Hmm", "But", "Alternatively")
    assurances: tuple[str, ...] = ("It is clear that", "I'm sure about this.")  # put in place of a reflection


@dataclass(frozen=True, kw_only=True)
class Concise:
    """Stop when the model's next word would be a sure one, and put a sure phrase where it would begin to doubt.

    Two means, both only once a step holds a candidate answer. After every step a copy of the chain is asked, by
    `ConciseWords.ask_certainty`, and of its next word

        share = p(sure words) / (p(sure words) + p(doubting words)),    stop if share > threshold

    among the 20 likeliest tokens. And where the chain is about to reflect, the cue is dropped and a phrase such as "It
    is clear that" takes its place, at most `injections` times; without such phrases this is left out.

    Reconstructed: the paper makes training data by these means and trains on it. Its words, phrases and threshold are
    not known to us; those of `ConciseWords` stand in for them.
    """

    card: ClassVar = Card(
        id="concise",
        paper="arXiv:2505.04881",
        where="confidence injection and early stopping, from the abstract and a digest",
        needs=frozenset({Need.FORK, Need.INJECT, Need.TOP_LOGPROBS}),
        fidelity="reconstructed",
        system="concise-confidence",
        ours=("threshold", "injections"),
    )
    words: ClassVar = ConciseWords()

    threshold: Annotated[float, Range(0, 1)] = 0.5  # share; strict
    injections: Annotated[int, Range(0)] = 4  # phrases put in, at most

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        engine, profile = session.engine, session.engine.profile
        words = profile.words(self.card.id, self.words)
        sure, doubting = word_ids(engine, words.sure_words), word_ids(engine, words.doubting_words)
        if not sure or not doubting:
            raise Unfit(f"concise: none of {profile.name}'s sure or doubting words is a single token of this model.")
        chain = session.chain()
        phrases = [words.assurances[i % len(words.assurances)] for i in range(self.injections) if words.assurances]
        answered = False
        while await chain.think(until=(profile.step, *profile.cues)):
            answered = answered or profile.candidate.search(chain.thinking) is not None
            if chain.last is not None and chain.last.match != profile.step:
                if answered and phrases and is_word(chain):
                    chain.inject(phrases.pop(0))
                continue
            if not answered or not await chain.think(limit=0):  # takes the delimiter of the step in
                continue
            share = sure_share(await next_word(chain, words.ask_certainty), sure, doubting)
            stop = share > self.threshold
            chain.look("share of sure words", share, threshold=self.threshold, stop=stop)
            if stop:
                return await chain.close_thinking()
        return await chain.finish()


async def next_word(chain: Chain, ask: str) -> dict[int, float]:
    """Probabilities of the likeliest next tokens of a copy of the chain, after `ask` has been put in."""
    probe = chain.probe()
    if ask:
        probe.inject(ask)
    got = await probe.sample(1, signals=Signals(top_logprobs=TOP), greedy=True)
    probe.drop()
    if got.top_ids is None or got.top_logprobs is None or not got.ids:
        return {}
    return dict(zip(got.top_ids[0].tolist(), np.exp(got.top_logprobs[0]).tolist(), strict=True))


def sure_share(mass: Mapping[int, float], sure: frozenset[int], doubting: frozenset[int]) -> float:
    """The share of the sure tokens in what sure and doubting ones have together; 0 when neither is likely at all.

    >>> round(sure_share({1: 0.30, 2: 0.10, 3: 0.25, 4: 0.05}, frozenset({1, 2}), frozenset({3, 4})), 4)
    0.5714
    """
    yes = sum(p for token, p in mass.items() if token in sure)
    no = sum(p for token, p in mass.items() if token in doubting)
    return yes / (yes + no) if yes + no > 0 else 0.0
