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

    As in the code, the question is put while the next chunk is being thought (`overlap`), so that a chain that stops
    has thought up to one chunk in vain; that chunk counts as dropped. Differs from the code: hesitations are whole
    words ("no" is not in "know"; `match=substring` is the code's); the inducing text is the profile's.
    """

    card: ClassVar = Card(
        id="dynasor-cot",
        paper="arXiv:2412.20993",
        where="Dynasor-CoT in the authors' code",
        needs=frozenset({Need.FORK, Need.INJECT}),
        fidelity="code",
        ours=("k", "match"),
    )
    words: ClassVar = DynasorWords()

    ladders: ClassVar = (
        Ladder(field="k", values=(6, 5, 4, 3, 2), fixed={"greedy": True, "overlap": False}, counts="chunk"),
    )

    k: Annotated[int, Range(1)] = 3  # answers that must agree
    chunk: Annotated[int, Range(1)] = 64  # thinking tokens between two questions
    trial_tokens: Annotated[int, Range(1)] = 20  # longest trial answer, tokens
    greedy: bool = False  # trial answers are greedy in place of sampled as the chain is
    overlap: bool = True  # ask while thinking goes on
    match: Match = "word"  # how a hesitation is found
    reuse_answer: bool = True  # write the agreed answer down in place of letting the model write one

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        profile, chain = session.engine.profile, session.chain()
        hesitations = profile.words(self.card.id, self.words).hesitations
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
                agreed = answers[-1]
                return await here.close_thinking(
                    answer=profile.written(agreed) if self.reuse_answer and agreed else None
                )
            if self.overlap:
                here.drop()
            else:
                thinks = await chain.think(limit=self.chunk)
        return await chain.finish()


async def both(ask: Coroutine[Any, Any, Trial], think: Coroutine[Any, Any, bool]) -> tuple[Trial, bool]:
    """Ask and think at once."""
    trial, thinks = await together([ask, think])
    return cast(Trial, trial), cast(bool, thinks)


def certain(
    texts: Sequence[str],
    answers: Sequence[str | None],
    k: int,
    same: Callable[[str, str], bool],
    hesitations: Sequence[str],
    match: Match = "word",
) -> bool:
    """Whether the last `k` trials agree on an answer and none of their `texts` hesitates.

    >>> trials = ["12", "12", "", "12", "12", "12"]
    >>> [certain(trials[:n], [t or None for t in trials[:n]], 3, str.__eq__, ["no"]) for n in range(1, 7)]
    [False, False, False, False, False, True]
    """
    return settled(answers, k, same) and not any(hesitates(text, hesitations, match) for text in texts[-k:])


def hesitates(text: str, words: Sequence[str], match: Match = "word") -> bool:
    """Whether a text says one of the words.

    >>> hesitates("I know 12", ["no"]), hesitates("I know 12", ["no"], "substring")
    (False, True)
    """
    found = "|".join(map(re.escape, words))
    return bool(words) and re.search(rf"\b(?:{found})\b" if match == "word" else found, text, re.I) is not None
