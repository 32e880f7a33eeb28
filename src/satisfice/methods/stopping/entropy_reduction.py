"""Stop once the answer that the chain would give now has become certain: low entropy, twice, with the same answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.answers.extract import read_trial
from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session
from satisfice.methods.stopping.trial import Trial, ask_trial, settled, think_to_step


@dataclass(frozen=True, kw_only=True)
class EntropyReduction:
    """Stop once the answer that the chain would give now is certain: its entropy is low at several steps running.

    After every step a copy of the chain is asked for its answer Y.

        H_t = mean_i  - sum_v p(v | thinking, y_<i) log p(v | thinking, y_<i)      over the tokens y_i of Y, nats

    Thinking ends when H_t <= h_stop at the last `times` steps and their answers are equal. With `h_high` set it also
    ends where there is no hope: H_t > h_high and not falling over the last `window` steps.

    Reconstructed: the paper measures the entropy of the *known* answer, with another model, to tell which steps were of
    use (H_(t-1) - H_t). The rule that stops is ours; so are its numbers, which want calibrating.
    """

    card: ClassVar = Card(
        id="entropy-reduction",
        paper="arXiv:2508.20395",
        where="conditional entropy of the answer span, from a digest; the rule is ours",
        needs=frozenset({Need.FORK, Need.INJECT, Need.ENTROPY}),
        fidelity="reconstructed",
        system="conditional-entropy-utility",
        ours=("h_stop", "times", "h_high", "window", "trial_tokens"),
    )

    h_stop: Annotated[float, Range(0)] = 0.2  # nats
    times: Annotated[int, Range(1)] = 2  # steps running
    h_high: Annotated[float, Range(0)] | None = None  # nats; none: hope is never given up
    window: Annotated[int, Range(2)] = 5  # steps over which hope is judged
    trial_tokens: Annotated[int, Range(1)] = 20  # longest trial answer, tokens

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        answers: list[str | None] = []
        entropies: list[float] = []
        while await think_to_step(chain):
            trial = await ask_trial(chain, self.trial_tokens, signals=Signals(entropy=True))
            answers.append(read_trial(trial.text) if trial.closed else None)
            entropies.append(answer_entropy(trial, skip=session.engine.profile.answer_skip))
            stop = low(entropies, answers, self.h_stop, self.times, session.same)
            stop = stop or hopeless(entropies, self.h_high, self.window)
            chain.look("answer entropy", entropies[-1], threshold=self.h_stop, stop=stop, text=trial.text)
            if stop:
                return await chain.close_thinking()
        return await chain.finish()


def answer_entropy(trial: Trial, *, skip: int = 0) -> float:
    """Mean entropy of the tokens of a trial answer, nats: without the first `skip` and without what ends it.

    Infinite when nothing is left: no answer is no certainty.
    """
    tokens = trial.entropy[skip : trial.tokens]
    return float(tokens.mean()) if tokens.size else float("inf")


def mean_entropy(distributions: Sequence[ArrayLike]) -> float:
    """Mean entropy in nats of the next-token distributions of an answer, one per token.

    >>> round(mean_entropy([[0.5, 0.3, 0.2], [0.6, 0.4]]), 4)
    0.8513
    """
    total = 0.0
    for distribution in distributions:
        p = np.asarray(distribution, dtype=np.float64)
        total -= float((p[p > 0] * np.log(p[p > 0])).sum())
    return total / len(distributions)


def low(
    entropies: Sequence[float],
    answers: Sequence[str | None],
    h_stop: float,
    times: int,
    same: Callable[[str, str], bool],
) -> bool:
    """Return whether the entropy was at most `h_stop` at the last `times` steps, and their answers the same.

    >>> low([0.5, 0.2, 0.1], ["3", "4", "4"], 0.2, 2, str.__eq__), low([0.1, 0.1], ["3", "4"], 0.2, 2, str.__eq__)
    (True, False)
    """
    return settled(answers, times, same) and max(entropies[-times:]) <= h_stop


def hopeless(entropies: Sequence[float], h_high: float | None, window: int) -> bool:
    """Whether the entropy is above `h_high` and its straight-line fit over the last `window` steps does not fall.

    >>> hopeless([0.9, 0.8, 1.0], 0.5, 3), hopeless([1.0, 0.9, 0.8], 0.5, 3), hopeless([1.0, 1.0], 0.5, 3)
    (True, False, False)
    """
    recent = np.asarray(entropies[-window:], dtype=np.float64)
    if h_high is None or recent.size < window or not np.isfinite(recent).all() or recent[-1] <= h_high:
        return False
    steps = np.arange(window) - (window - 1) / 2
    return bool(steps @ recent >= -1e-12)  # the sign of the slope
