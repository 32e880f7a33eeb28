"""What several rules do at a cue: get there, and ask a copy of the chain for its answer now."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from satisfice.core.chain import Chain
from satisfice.core.engine import Sampled, Signals
from satisfice.core.stepping import Vocabulary

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An answer that a chain would give if it had to stop here. The copy that gave it is gone."""

    text: str
    closed: bool  # the answer came to its end; False: the token limit cut it
    tokens: int  # of the answer itself, without what ends it
    logprobs: NDArray[np.float32]  # [n] nats, of all sampled tokens, the one that ends the answer included
    entropy: NDArray[np.float32]  # [n] nats, likewise


_TEXT = Signals()


async def ask_trial(
    chain: Chain,
    tokens: int,
    *,
    inducer: str | None = None,
    signals: Signals = _TEXT,
    greedy: bool = True,
    whole: bool = False,
) -> Trial:
    """Ask a copy of the chain for its answer now, in at most `tokens` tokens. The chain itself is untouched.

    `inducer` is what is put in to ask, by default the profile's `induce_answer`. A `whole` trial goes on after its
    answer, to the end of the turn or the last token.
    """
    engine = chain.session.engine
    probe = chain.probe().inject(engine.profile.induce_answer if inducer is None else inducer)
    begin, seen = len(probe.ids), list[Sampled]()
    while True:
        left = tokens - sum(len(got.ids) for got in seen)
        until = () if whole else engine.profile.answer_end
        seen.append(await probe.sample(left, until=until, signals=signals, greedy=greedy))
        text = engine.decode([i for i in probe.ids[begin:] if i not in engine.end_ids])
        if seen[-1].match != "}" or _depth(text) <= 0:
            break  # a brace that closes one of the answer's own does not end it
    probe.drop()
    return Trial(
        text=text,
        closed=seen[-1].reason in ("text", "token"),
        tokens=len(probe.ids) - begin - (seen[-1].reason == "token"),
        logprobs=_joined([got.logprobs for got in seen]),
        entropy=_joined([got.entropy for got in seen]),
    )


async def think_to_cue(chain: Chain, *, signals: Signals = _TEXT, bias: Mapping[int, float] | None = None) -> bool:
    """Think on to just before the next cue word; False once thinking is over.

    A cue inside a longer word ("await", "Waiter") is none, as far as its own tokens tell.
    """
    while await chain.think(until=chain.session.engine.profile.cues, signals=signals, bias=bias):
        if is_word(chain):
            return True
    return False


async def think_to_step(chain: Chain, *, signals: Signals = _TEXT, bias: Mapping[int, float] | None = None) -> bool:
    """Think on to the end of the step, its delimiter included; False once thinking is over."""
    step = (chain.session.engine.profile.step,)
    return await chain.think(until=step, signals=signals, bias=bias) and await chain.think(limit=0)


def is_word(chain: Chain) -> bool:
    """Return whether the cue that the chain stands before is a word of its own, as far as its own tokens tell."""
    before, cue, after = chain.held_text.partition(chain.last.match if chain.last is not None else "")
    before = chain.session.engine.decode(chain.ids[-1:]) + before
    return not (before[-1:].isalnum() or (cue[-1:].isalnum() and after[:1].isalnum()))


def settled(answers: Sequence[str | None], k: int, same: Callable[[str, str], bool]) -> bool:
    """Return whether the last `k` answers are there and all the same; None equals nothing, not even None.

    >>> settled(["7", "5", "5", "5"], 3, str.__eq__), settled(["5", None, "5", "5"], 3, str.__eq__)
    (True, False)
    """
    last = answers[-k:]
    return len(last) == k and all(a is not None and last[-1] is not None and same(a, last[-1]) for a in last)


def agreeing(answers: Sequence[str | None], same: Callable[[str, str], bool]) -> int:
    """Return how many answers at the end are the same; 0 when the last is none.

    >>> agreeing(["7", "5", "5"], str.__eq__), agreeing(["5", None], str.__eq__)
    (2, 0)
    """
    return next((k - 1 for k in range(1, len(answers) + 1) if not settled(answers, k, same)), len(answers))


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines side by side; when one fails the others are cancelled and its own error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def cue_ids(words: Vocabulary) -> frozenset[int]:
    """Tokens that are a cue of the model by themselves, with a space before it or without."""
    tokens = [words.encode(space + cue) for cue in words.profile.cues for space in ("", " ")]
    return frozenset(ids[0] for ids in tokens if len(ids) == 1)


def word_ids(engine: Vocabulary, words: Sequence[str]) -> frozenset[int]:
    """Tokens that are one of the words by themselves: as written, in lower case or capitals, with a space or without.

    A word that takes several tokens has none: its first piece begins other words too.
    """
    tokens = map(engine.encode, word_forms(words))
    return frozenset(ids[0] for ids in tokens if len(ids) == 1)


def word_forms(words: Sequence[str]) -> list[str]:
    """Return the forms in which `word_ids` looks for words.

    >>> word_forms(["Wait"])
    ['WAIT', ' WAIT', 'Wait', ' Wait', 'wait', ' wait']
    """
    forms = {form for word in words for form in (word, word.lower(), word.capitalize(), word.upper())}
    return [space + form for form in sorted(forms) for space in ("", " ")]


def _joined(parts: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32]:
    told = [part for part in parts if part is not None]
    return np.concatenate(told) if told else np.zeros(0, dtype=np.float32)


def _depth(text: str) -> int:
    """Return how many braces are open; escaped ones are text."""
    bare = text.replace(r"\{", "").replace(r"\}", "")
    return bare.count("{") - bare.count("}")
