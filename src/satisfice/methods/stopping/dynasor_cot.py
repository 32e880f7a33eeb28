"""Ask for the answer every so many tokens; stop when the last few agree and none hesitates."""

import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, cast

from satisfice.answers.extract import read_trial
from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.fields import Range, check_fields
from satisfice.core.ladder import Ladder
from satisfice.core.session import Session
from satisfice.methods.stopping.trial import Trial, agreeing, ask_trial, settled, together

Loop = Literal["chunks", "released"]
Match = Literal["word", "substring"]


@dataclass(frozen=True, kw_only=True)
class DynasorWords:
    """What it looks for; a model's `profile.json` may say otherwise under `rules`."""

    hesitations: tuple[str, ...] = ("wait", "hold", "but", "okay", "no", "hmm")  # a trial that says one is no answer


@dataclass(frozen=True, kw_only=True)
class DynasorCot:
    """Stop when the answers that a chain gives every `chunk` tokens have been the same `k` times, without hesitation.

    Every `chunk` tokens a copy of the chain is asked for its answer. Thinking ends when the last `k` answers are there,
    are equal, and none of their texts says one of `DynasorWords.hesitations` ("wait", "but", ...). The agreed answer is
    then written down for the model. Reference code: https://github.com/hao-ai-lab/Dynasor (MIT), whose levels of
    effort are (k, chunk) = mild (8, 64), low (5, 64), mid (3, 64), high (2, 64), crazy (2, 32).

    `loop=released` is the code's loop. The first question comes before the first thought, so questions stand at 0,
    chunk, 2 chunk, ... tokens; each is put while the next chunk is being thought, and a chain that stops keeps that
    chunk. A trial is sampled to `trial_tokens` or the end of the turn and not only to the end of its box, and all of it
    is searched for hesitations, as parts of words too ("no" in "know"). When thinking ends within a chunk, the question
    put beside it is not looked at. By default (`loop=chunks`) the first question comes after the first chunk, a trial
    ends with its box and is searched no further, hesitations are whole words (`match=substring` is the code's), and a
    chain that stops goes back to where the question was put: the chunk thought meanwhile (`overlap`) counts as dropped.

    Both differ from the code: trial answers are sampled as the chain is (there temperature 0.6 and top-p 0.95), and the
    inducing and closing texts are the profile's. The released loop was held against the code's, fed with the same
    chunks and trials, on 1,000 random chains: place of the stop, answer and kept text are the same.
    """

    card: ClassVar = Card(
        id="dynasor-cot",
        paper="arXiv:2412.20993",
        where="Dynasor-CoT; loop=released is the authors' code, the default reads it otherwise",
        needs=frozenset({Need.FORK, Need.INJECT}),
        fidelity="second-hand",
        ours=("k", "loop", "match"),
    )
    words: ClassVar = DynasorWords()

    ladders: ClassVar = (
        Ladder(field="k", values=(6, 5, 4, 3, 2), fixed={"greedy": True, "overlap": False}, counts="chunk"),
    )

    k: Annotated[int, Range(1)] = 3  # answers that must agree
    chunk: Annotated[int, Range(1)] = 64  # thinking tokens between two questions
    loop: Loop = "chunks"  # when it asks, what it reads of a trial, what a chain that stops keeps
    trial_tokens: Annotated[int, Range(1)] = 20  # longest trial answer, tokens
    greedy: bool = False  # trial answers are greedy in place of sampled as the chain is
    overlap: bool = True  # ask while thinking goes on; the released loop always does
    match: Match = "word"  # how a hesitation is found; by the released loop as substring always
    reuse_answer: bool = True  # write the agreed answer down in place of letting the model write one

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        return await (self._released(session) if self.loop == "released" else self._chunks(session))

    async def _released(self, session: Session) -> Chain:
        profile, chain = session.engine.profile, session.chain()
        hesitations = profile.words(self.card.id, self.words).hesitations
        texts: list[str] = []
        answers: list[str | None] = []
        while True:
            ask = ask_trial(chain, self.trial_tokens, greedy=self.greedy, whole=True)
            trial, thinks = await both(ask, chain.think(limit=self.chunk))
            if not thinks:
                return await chain.finish()
            texts.append(trial.text)
            closed = closed_part(trial.text, profile.answer_end)
            if closed is None and trial.closed and "}" not in profile.answer_end:
                closed = trial.text  # the end of the turn ends an answer without a box
            answers.append(None if closed is None else read_trial(closed))
            stop = certain(texts, answers, self.k, session.same, hesitations, "substring")
            chain.look("equal answers", agreeing(answers, session.same), threshold=self.k, stop=stop, text=trial.text)
            if stop:
                return await self._close(session, chain, answers[-1])

    async def _close(self, session: Session, chain: Chain, agreed: str | None) -> Chain:
        written = session.engine.profile.written(agreed) if self.reuse_answer and agreed else None
        return await chain.close_thinking(answer=written)

    async def _chunks(self, session: Session) -> Chain:
        chain = session.chain()
        hesitations = session.engine.profile.words(self.card.id, self.words).hesitations
        texts: list[str] = []
        answers: list[str | None] = []
        thinks = await chain.think(limit=self.chunk)
        while thinks:
            here = chain.fork() if self.overlap else chain
            ask = ask_trial(here, self.trial_tokens, greedy=self.greedy)
            if self.overlap:
                trial, thinks = await both(ask, chain.think(limit=self.chunk))
            else:
                trial = await ask
            texts.append(trial.text)
            answers.append(read_trial(trial.text) if trial.closed else None)
            stop = certain(texts, answers, self.k, session.same, hesitations, self.match)
            here.look("equal answers", agreeing(answers, session.same), threshold=self.k, stop=stop, text=trial.text)
            if stop:
                if self.overlap:
                    chain.drop()
                return await self._close(session, here, answers[-1])
            if self.overlap:
                here.drop()
            else:
                thinks = await chain.think(limit=self.chunk)
        return await chain.finish()


async def both(ask: Coroutine[Any, Any, Trial], think: Coroutine[Any, Any, bool]) -> tuple[Trial, bool]:
    """Ask and think at once."""
    trial, thinks = await together([ask, think])
    return cast(Trial, trial), cast(bool, thinks)


def closed_part(text: str, ends: Sequence[str]) -> str | None:
    """Return what comes before the first end of an answer, a brace only where it closes none of the answer's own.

    >>> closed_part("\\\\frac{1}{2}} so", ["}"]), closed_part("12", ["}"]), closed_part("12\\n13", ["\\n"])
    ('\\\\frac{1}{2}', None, '12')
    """
    depth = 0
    for at, char in enumerate(text):
        if any(text.startswith(end, at) for end in ends if end != "}" or depth == 0):
            return text[:at]
        depth += (char == "{") - (char == "}")
    return None


def certain(
    texts: Sequence[str],
    answers: Sequence[str | None],
    k: int,
    same: Callable[[str, str], bool],
    hesitations: Sequence[str],
    match: Match = "word",
) -> bool:
    """Return whether the last `k` trials agree on an answer and none of their `texts` hesitates.

    >>> trials = ["12", "12", "", "12", "12", "12"]
    >>> [certain(trials[:n], [t or None for t in trials[:n]], 3, str.__eq__, ["no"]) for n in range(1, 7)]
    [False, False, False, False, False, True]
    """
    return settled(answers, k, same) and not any(hesitates(text, hesitations, match) for text in texts[-k:])


def hesitates(text: str, words: Sequence[str], match: Match = "word") -> bool:
    """Return whether a text says one of the words.

    >>> hesitates("I know 12", ["no"]), hesitates("I know 12", ["no"], "substring")
    (False, True)
    """
    found = "|".join(map(re.escape, words))
    return bool(words) and re.search(rf"\b(?:{found})\b" if match == "word" else found, text, re.I) is not None
