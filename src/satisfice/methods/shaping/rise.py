"""Learn to repair one's own answers over several turns, from attempts weighed by what they earned."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card, Need
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import Floats, Rollouts
from satisfice.core.session import Session
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State
from satisfice.core.steering import Right, Rolled

FEEDBACK = "\n\nAn earlier answer to this was: {answer}\nIt is not right. Find what is wrong with it and answer again."

_LARGEST = 50.0  # exponent: rewards far above 1 at a small temperature would leave the numbers there are


@dataclass(frozen=True, kw_only=True)
class Rise:
    """Learn to repair one's own answers over several turns, from attempts weighed by what they earned.

    A prompt is asked; while the answer is wrong it is asked again, with the wrong answer and the news that it is
    wrong, up to `turns` times. Every attempt is an example whose tokens are imitated with its weight:

        loss = -w_i log p(attempt i | prompt, what went before),    w_i = exp((r_i - 1) / temperature)

    or the reward itself (`weighing=reward`). `improvement_examples` makes the same from attempts that somebody else
    wrote, a stronger model or the best of several. More turns cost more tokens: this is for accuracy, not for brevity.

    The weights are those of the released code (https://github.com/cmu-mind/RISE), which makes exp(r / temperature) at a
    temperature of 0.4 and stores it with each example; here they are in units of a right attempt's. What differs: its
    attempts are written once, by the model or a stronger one, and fine-tuned on; here they are sampled anew each step.
    The words of the feedback are ours.
    """

    card: ClassVar = Card(
        id="rise",
        paper="arXiv:2407.18219",
        where="multi-turn data, reward-weighted loss",
        needs=frozenset({Need.FORK}),
        fidelity="second-hand",
        system="rise",
        ours=("turns",),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)
    makes: ClassVar = frozenset({"turns"})

    turns: Annotated[int, Range(1)] = 5  # attempts at a prompt, at most
    temperature: Annotated[float, Range(1e-6)] = 0.4  # of the weights, in units of reward
    weighing: Literal["exponential", "reward"] = "exponential"

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loss(self) -> Loss:
        return Loss(ratio="none", aggregation="token")

    async def roll(self, session: Session, size: int, right: Right, state: State = STATELESS) -> list[Rolled]:
        """`size` attempts: chains of repairs, each begun anew once an answer is right or the turns are over."""
        rolled: list[Rolled] = []
        asked, turn = session.problem.question, 1
        while len(rolled) < size:
            chain = session.chain(asked)
            while await chain.think():
                pass
            if chain.ended == "model":
                await chain.finish()
            rolled.append(Rolled(chain=chain, columns={"turns": float(turn)}))
            if turn < self.turns and not await right(chain):
                asked, turn = repair(session.problem.question, session.parse(chain.answer_text) or "none"), turn + 1
            else:
                asked, turn = session.problem.question, 1
        return rolled

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        r = rollouts.reward
        weight = r if self.weighing == "reward" else reward_weights(r, self.temperature)
        return Shaped(advantage=weight, reward=rollouts.reward).noted(weight=float(weight.mean()))


def reward_weights(reward: ArrayLike, temperature: float = 0.4) -> Floats:
    """Return exp((r - 1) / temperature), [n]: the weight of each attempt in units of a right one's.

    The unit is the same in every batch, so a batch without a right attempt does not weigh its wrong ones fully.

    >>> reward_weights([1.0, 0.0, 0.5]).round(4), reward_weights([0.0]).round(4)
    (array([1.    , 0.0821, 0.2865]), array([0.0821]))
    """
    r: Floats = np.asarray(reward, dtype=np.float64)
    found: Floats = np.exp(np.minimum((r - 1) / temperature, _LARGEST))
    return found


def repair(question: str, answer: str) -> str:
    """Return the question asked again after a wrong answer."""
    return question + FEEDBACK.format(answer=answer)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One example of repairing: what is asked, what is to be said, and how much it weighs."""

    question: str
    answer: str
    weight: float
    turn: int  # counted from 1


def improvement_examples(
    question: str,
    attempts: Sequence[str],
    better: Callable[[str], str | None],
    right: Callable[[str], bool],
    *,
    temperature: float = 0.4,
) -> list[Example]:
    """Examples from successive attempts at a question, up to the first right one.

    `better` says what should have been answered in place of an attempt (None: nothing better is known): for each wrong
    attempt before, the example asks again with that attempt and wants the better answer. Weights are those of
    `reward_weights`, a right answer's being 1.
    """
    examples = []
    for turn, attempt in enumerate(attempts, start=1):
        wanted = attempt if right(attempt) else better(attempt)
        asked = question if turn == 1 else repair(question, attempts[turn - 2])
        if wanted is not None:
            weight = math.exp((float(right(wanted)) - 1) / temperature)
            examples.append(Example(question=asked, answer=wanted, weight=weight, turn=turn))
        if right(attempt):
            break
    return examples
