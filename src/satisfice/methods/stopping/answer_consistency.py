"""Stop once the trial answer has stayed the same for several steps."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.answers.extract import read_trial
from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session
from satisfice.methods.stopping.trial import agreeing, ask_trial, settled, think_to_step


@dataclass(frozen=True, kw_only=True)
class AnswerConsistency:
    """Stop once the trial answer has stayed the same for `k` steps.

    After every step a copy of the chain is asked for its answer; thinking ends when the last `k` answers are there and
    equal. A step without an answer breaks the row. A wrong answer that does not change stops the chain as well.

    Known from the paper's abstract alone: step delimiter, `k` and trial length are not.
    """

    card: ClassVar = Card(
        id="answer-consistency",
        paper="arXiv:2506.02536",
        where="answer consistency, from the abstract",
        needs=frozenset({Need.FORK, Need.INJECT}),
        fidelity="reconstructed",
        ours=("k", "trial_tokens"),
    )

    k: Annotated[int, Range(1)] = 10  # equal answers
    trial_tokens: Annotated[int, Range(1)] = 20  # longest trial answer, tokens

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        answers: list[str | None] = []
        while await think_to_step(chain):
            trial = await ask_trial(chain, self.trial_tokens)
            answers.append(read_trial(trial.text) if trial.closed else None)
            stop = settled(answers, self.k, session.same)
            chain.look("equal answers", agreeing(answers, session.same), threshold=self.k, stop=stop, text=trial.text)
            if stop:
                return await chain.close_thinking()
        return await chain.finish()
