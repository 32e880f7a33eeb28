"""Stop at a transition word once a trial answer is confident enough."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.answers.extract import read_trial
from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals
from satisfice.core.fields import Range, check_fields
from satisfice.core.ladder import Ladder
from satisfice.core.method import Preset
from satisfice.core.session import Session
from satisfice.methods.stopping.trial import Trial, ask_trial, think_to_cue

THRESHOLDS = (0.9999, 0.9995, 0.999, 0.998, 0.995, 0.99, 0.985, 0.98, 0.975, 0.97, 0.96, 0.95, 0.93, 0.9, 0.85, 0.8)

Mean = Literal["arithmetic", "geometric", "min"]


@dataclass(frozen=True, kw_only=True)
class Deer:
    """Stop at a transition word once a trial answer is confident enough.

    Whenever the model is about to say "Wait", a copy of the chain is asked for its answer. If the model is sure of that
    answer, thinking ends and the visible answer is written afresh; the trial is thrown away.

        C = mean_i p(a_i | prompt, thinking, inducing text, a_<i),    stop if C > threshold

    over the tokens a_i of the trial answer. With `reuse_answer` the trial answer that the model was sure of is written
    down as the visible one: that costs no token, and cannot go wrong where answers are sampled hot.
    Reference code: https://github.com/iie-ycx/DEER (MIT).

    Three scripts are released, and their means differ in the token that closes the trial answer: `vllm-deer` counts it
    (arithmetic, the default here) and so does `vllm-deer-qwen3` (geometric); `vanilla_deer`, for transformers, leaves
    it out (`closing=false`). All leave out an opening brace, which the profile's text has put in already.

    Differs from the code: trial answers are greedy, so that p is the largest probability as in the paper and in
    `vanilla_deer` (the others sample them at temperature 1); a trial that does not come to its end within
    `trial_tokens` is never confident (`require_closed=false` averages over what is there, as `vllm-deer` does; the
    Qwen3 script has a rule like ours, that the trial must end in the end of thinking), nor is one that says nothing; a
    brace within the answer does not end it; `vanilla_deer` allows a trial 21 tokens, looks at any number of cues, and
    also ends thinking at `**`; thinking is bounded by the session's limits in place of a share of the maximum length.
    The cue words and the inducing text are the profile's. The three means were held against the code's on 1,000 random
    trials each.
    """

    card: ClassVar = Card(
        id="deer",
        paper="arXiv:2504.15895",
        where="Sec. 3.2",
        needs=frozenset({Need.FORK, Need.INJECT, Need.LOGPROBS}),
        fidelity="code",
        system="deer",
        ours=("require_closed", "reuse_answer"),
    )
    presets: ClassVar = {
        "pocket": Preset(fields={"threshold": 0.97, "reuse_answer": True}, study="stopping-pocket"),
        "smollm2": Preset(fields={"threshold": 0.9, "reuse_answer": True}, study="stopping-smollm2"),
    }

    ladders: ClassVar = (
        Ladder(field="threshold", values=THRESHOLDS, fixed={"reuse_answer": True}),
        Ladder(field="threshold", values=THRESHOLDS),
    )

    threshold: Annotated[float, Range(0, 1)] = 0.95  # probability; strict
    mean: Mean = "arithmetic"  # the code's avg1; avg2 (its choice for Qwen3, and the paper's) is geometric
    trial_tokens: Annotated[int, Range(1)] = 20  # longest trial answer, tokens
    max_judge_steps: Annotated[int, Range(0)] = 10  # cues that it looks at; later ones are passed
    require_closed: bool = True  # a trial answer that was cut off has confidence 0
    closing: bool = True  # the token that closes a trial answer counts; false: as in the script for transformers
    reuse_answer: bool = False  # write the trial answer down in place of letting the model write one

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        profile, chain = session.engine.profile, session.chain()
        for _ in range(self.max_judge_steps):
            if not await think_to_cue(chain):
                break
            trial = await ask_trial(chain, self.trial_tokens, signals=Signals(logprobs=True))
            sure = certainty(
                trial, self.mean, skip=profile.answer_skip, closed=self.require_closed, closing=self.closing
            )
            stop = sure > self.threshold
            chain.look("confidence", sure, threshold=self.threshold, stop=stop, text=trial.text)
            if stop:
                answer = read_trial(trial.text) if self.reuse_answer else None
                return await chain.close_thinking(answer=None if answer is None else profile.written(answer))
        return await chain.finish()


def certainty(trial: Trial, mean: Mean, *, skip: int, closed: bool, closing: bool = True) -> float:
    """Return the confidence of a trial answer; 0 when it says nothing, or has to be closed and is not.

    Without `closing` what closes the answer is left out; of one that was cut off, the last token.
    """
    said = bool(trial.text.strip()) and (trial.closed or not closed)
    beyond = 0 if closing else max(1, len(trial.logprobs) - trial.tokens)
    return confidence(trial.logprobs, mean, skip=skip, beyond=beyond) if said else 0.0


def confidence(logprobs: ArrayLike, mean: Mean = "arithmetic", *, skip: int = 0, beyond: int = 0) -> float:
    """Return the mean probability of an answer's tokens, without the first `skip` and the last `beyond`; of none 0.

    `logprobs` are in nats, shape [n].

    >>> probs = [0.99, 0.98, 0.97, 0.89]                     # the first is the opening brace
    >>> round(confidence(np.log(probs), skip=1), 4), round(confidence(np.log(probs)), 4)
    (0.9467, 0.9575)
    >>> round(confidence(np.log(probs), skip=1, beyond=1), 4)
    0.975
    """
    values = np.asarray(logprobs, dtype=np.float64)
    answer = values[skip : max(0, values.size - beyond)]
    if answer.size == 0:
        return 0.0
    if mean == "min":
        return float(np.exp(answer.min()))
    return float(np.exp(answer).mean() if mean == "arithmetic" else np.exp(answer.mean()))
