"""Stop when the run of equal trial answers becomes much longer than the runs before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.answers.extract import read_trial
from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.fields import Range, check_fields
from satisfice.core.ladder import Ladder
from satisfice.core.session import Session
from satisfice.methods.stopping.trial import ask_trial, think_to_cue, think_to_step


@dataclass(frozen=True, kw_only=True)
class EsCot:
    """Stop when the answer has settled: the run of equal trial answers jumps above the runs before it.

    After every step a copy of the chain is asked for its answer. Neighbouring equal answers form runs of lengths
    r_1, ..., r_n, of which the last is still growing.

        D_i = r_(i+1) - r_i,    stop if D_last >= d_min and a one-sided t-test says D_last > mean(earlier D), p < alpha

    A trial without an answer is a run of its own: it never agrees with another.

    Reconstructed: the paper's exact test, step delimiter and trial length are not published. The test here is that of
    one sample, the earlier differences, against D_last, and needs two of them. With fewer it stops when an open run
    after at least one other reaches d_min + 1, or when the very first run reaches 2 d_min. A later version of the
    paper looks at cue words in place of steps: `trigger=cue`.
    """

    card: ClassVar = Card(
        id="es-cot",
        paper="arXiv:2509.14004",
        where="the stopping rule, from a digest of the paper",
        needs=frozenset({Need.FORK, Need.INJECT}),
        fidelity="reconstructed",
        system="es-cot",
        ours=("trial_tokens",),
    )

    ladders: ClassVar = (Ladder(field="d_min", values=(8, 6, 5, 4, 3, 2, 1), fixed={"trigger": "cue"}),)

    d_min: Annotated[int, Range(1)] = 10  # equal answers
    alpha: Annotated[float, Range(0, 1)] = 0.05  # significance of the t-test
    trigger: Literal["step", "cue"] = "step"  # look after every step (first version) or before cues (second)
    trial_tokens: Annotated[int, Range(1)] = 16  # longest trial answer, tokens

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        answers: list[str | None] = []
        while await (think_to_step(chain) if self.trigger == "step" else think_to_cue(chain)):
            trial = await ask_trial(chain, self.trial_tokens)
            answers.append(read_trial(trial.text))
            runs = run_lengths(answers, session.same)
            stop = run_jump(runs, self.d_min, self.alpha)
            chain.look("equal answers", runs[-1], threshold=self.d_min, stop=stop, text=trial.text)
            if stop:
                return await chain.close_thinking()
        return await chain.finish()


def run_lengths(answers: Sequence[str | None], same: Callable[[str, str], bool]) -> list[int]:
    """Return lengths of the maximal blocks of equal neighbours; None equals nothing, not even None.

    >>> run_lengths(["7", "7", None, None, "7"], str.__eq__)
    [2, 1, 1, 1]
    """
    runs: list[int] = []
    before: str | None = None
    for answer in answers:
        if answer is not None and before is not None and same(before, answer):
            runs[-1] += 1
        else:
            runs.append(1)
        before = answer
    return runs


def run_jump(runs: Sequence[int], d_min: int, alpha: float) -> bool:
    """Whether the last run, still open, stands out: long enough, and longer than the earlier differences suggest.

    >>> run_jump([1, 2, 1, 3, 12], 10, 0.05), run_jump([1, 2, 1, 3, 13], 10, 0.05)
    (False, True)
    """
    if len(runs) < 4:
        return bool(runs) and runs[-1] >= (2 * d_min if len(runs) == 1 else d_min + 1)
    differences = np.diff(runs)
    return bool(differences[-1] >= d_min and jump_p_value(runs) < alpha)


def jump_p_value(runs: Sequence[int]) -> float:
    """Return one-sided p of the last difference of run lengths against the earlier ones, of which there must be two.

    Where the earlier differences are all equal, p is 0 if the last one is larger, else 1.
    """
    differences = np.diff(runs)
    earlier, last = differences[:-1], differences[-1]
    if np.ptp(earlier) == 0:
        return 0.0 if last > earlier[0] else 1.0
    from scipy.stats import ttest_1samp  # here, because it takes longer to import than all the rest

    return float(ttest_1samp(earlier, last, alternative="less").pvalue)
