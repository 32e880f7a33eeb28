"""DEER with several trial answers at once, less sure where they differ."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Session
from satisfice.methods.stopping.deer import Mean, certainty
from satisfice.methods.stopping.trial import ask_trial, think_to_cue, together


@dataclass(frozen=True, kw_only=True)
class DeerProWords:
    """How it asks; a model's `profile.json` may say otherwise under `rules`."""

    inducers: tuple[str, ...] = (  # several wordings of the profile's `induce_answer`
        "\n**Final Answer**\n\\boxed{",
        "\n**Final Answer**\n\nThe final answer is \\boxed{",
        "\n**Final Answer**\nI believe the final answer is \\boxed{",
        "\n\nThe final answer is \\boxed{",
    )


@dataclass(frozen=True, kw_only=True)
class DeerPro:
    """Stop at a transition word once several trial answers, asked for in different words, are confident together.

    As `deer`, with N wordings in parallel; where their confidences C_i lie apart, the mean counts for less.

        C_cali = mean(C) - alpha * mean_i |C_i - mean(C)|,    stop if C_cali > threshold

    The wordings are the first N of `DeerProWords` (the paper's are not published, its code neither); where a profile
    has fewer, those are used. Thinking is closed and the visible answer written afresh, as in `deer`.
    """

    card: ClassVar = Card(
        id="deer-pro",
        paper="arXiv:2504.15895",
        where="DEER-Pro, from a digest of the paper",
        needs=frozenset({Need.FORK, Need.INJECT, Need.LOGPROBS}),
        fidelity="second-hand",
        system="deer",
        ours=("require_closed",),
    )
    words: ClassVar = DeerProWords()

    threshold: Annotated[float, Range(0, 1)] = 0.95  # probability; strict
    n: Annotated[int, Range(1), Counts.CHAINS] = 4  # wordings
    alpha: Annotated[float, Range(0)] = 1.0  # weight of the spread
    mean: Mean = "arithmetic"  # over the tokens of one trial answer
    trial_tokens: Annotated[int, Range(1)] = 20  # longest trial answer, tokens
    max_judge_steps: Annotated[int, Range(0)] = 10  # cues that it looks at; later ones are passed
    require_closed: bool = True  # a trial answer that was cut off has confidence 0

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        profile, chain = session.engine.profile, session.chain()
        words = profile.words(self.card.id, self.words)
        for _ in range(self.max_judge_steps):
            if not await think_to_cue(chain):
                break
            trials = await together(
                ask_trial(chain, self.trial_tokens, inducer=inducer, signals=Signals(logprobs=True))
                for inducer in words.inducers[: self.n]
            )
            sure = calibrated(
                [certainty(t, self.mean, skip=profile.answer_skip, closed=self.require_closed) for t in trials],
                self.alpha,
            )
            stop = sure > self.threshold
            chain.look("confidence", sure, threshold=self.threshold, stop=stop, text=" | ".join(t.text for t in trials))
            if stop:
                return await chain.close_thinking()
        return await chain.finish()


def calibrated(confidences: ArrayLike, alpha: float = 1.0) -> float:
    """Return the mean confidence, less `alpha` times the mean absolute deviation from it.

    >>> round(calibrated([0.97, 0.96, 0.99, 0.80]), 4)
    0.865
    """
    c = np.asarray(confidences, dtype=np.float64)
    return float(c.mean() - alpha * np.abs(c - c.mean()).mean())
