"""Cut one chain of thought at several places, ask for the answer at each, and reward the early right ones most."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import random_key
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import Column, Floats, Rollouts
from satisfice.core.session import Session
from satisfice.core.shaper import STATELESS, Aggregation, Loss, Pressure, Shaped, State
from satisfice.core.steering import Right, Rolled, sampled_tokens

EXIT = Column(
    "exit",
    "place of the rollout among the exits from one chain of thought: 0 the earliest, the whole chain last",
    example=lambda some: np.floor(5 * some.share),
)

Decay = Literal["right-exits", "exit"]


@dataclass(frozen=True, kw_only=True)
class SGrpo:
    """Cut one chain of thought at several places, ask for the answer at each, and reward the early right ones most.

    A group is one chain and its exits: places P_j drawn evenly from its thinking, each a copy of what was thought until
    then, closed by the profile's words and answered. Ordered by place, the whole chain last:

        r_i = 2^-(k_i - 1) if right, else 0,    k_i = right exits up to and including i
        A_i = r_i - mean(r)

    with no standard deviation, so that a group of which every exit is right still says: the earliest. A chain that a
    limit ends has no answer and counts as wrong. `by=exit` halves by the number of the exit in place of the number of
    right ones, and `places=even` spaces exits evenly, as one public re-implementation does.

    What was thought before an exit was sampled once, for the whole chain. By default an exit's loss counts it and the
    exit's answer (`train=prefix`); `all` counts the words that closed it too, which the policy did not sample but is
    then taught to say; `answer` counts the answer alone. The paper, as far as it could be read, does not settle this.
    The last is the most careful reading and does not work: nothing that decides how long to think is trained, and on
    the pocket reasoner accuracy collapses (`studies/shaping-pocket`).
    """

    card: ClassVar = Card(
        id="s-grpo",
        paper="arXiv:2505.07686",
        where="serial group, decaying reward",
        needs=frozenset({Need.FORK, Need.INJECT}),
        fidelity="second-hand",
        system="s-grpo",
        requires=frozenset({EXIT}),
        ours=("train", "clip_low", "clip_high"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)
    makes: ClassVar = frozenset({"exit"})

    decay: Annotated[float, Range(1)] = 2.0  # each right exit is worth this much less than the one before it
    by: Decay = "right-exits"  # what is counted: right exits, or exits
    places: Literal["random", "even"] = "random"
    train: Literal["prefix", "answer", "all"] = "prefix"  # tokens of an exit that the loss counts
    clip_low: Annotated[float, Range(0, 1)] = 0.2
    clip_high: Annotated[float, Range(0)] = 0.2
    aggregation: Aggregation = "sequence"

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loss(self) -> Loss:
        return Loss(clip_low=self.clip_low, clip_high=self.clip_high, aggregation=self.aggregation)

    async def roll(self, session: Session, size: int, right: Right, state: State = STATELESS) -> list[Rolled]:
        """Return one whole chain and `size - 1` exits from it."""
        whole = session.chain()
        while await whole.think():
            pass
        if whole.phase == "answer" and whole.ended == "model":
            await whole.finish()
        seed = random_key(session.seed, session.problem.id, "exits")
        cuts = exit_places(whole.thought, size - 1, self.places, seed)
        exits = [whole.branch(cut) for cut in cuts]
        for task in [session.start(one.close_thinking()) for one in exits]:
            await task
        return [self._rolled(chain, number) for number, chain in enumerate([*exits, whole])]

    def _rolled(self, chain: Chain, number: int) -> Rolled:
        ways = {
            "answer": lambda: sampled_tokens(chain, by=chain.name),
            "prefix": lambda: sampled_tokens(chain),
            "all": lambda: (True,) * len(chain),
        }
        return Rolled(chain=chain, columns={"exit": float(number)}, mask=ways[self.train]())

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        reward = np.zeros(len(rollouts))
        for rows in rollouts.groups:
            reward[rows] = serial_reward(rollouts.correct[rows], rollouts["exit"][rows], self.decay, self.by)
        advantage = reward - rollouts.groups.mean(reward)
        last = rollouts["exit"] == rollouts.groups.max(rollouts["exit"])
        early = rollouts.correct & ~last
        return Shaped(advantage=advantage, reward=reward).noted(
            exits_right=float(early.sum() / max(int((~last).sum()), 1)),
            whole_right=float(rollouts.correct[last].mean()),
        )


def serial_reward(correct: ArrayLike, exit_: ArrayLike, decay: float = 2.0, by: Decay = "right-exits") -> Floats:
    """Rewards of the exits from one chain, [m]: 1 for a right one, divided by `decay` for each right one before it.

    `exit_` says in which order they stand; `by=exit` divides for each one before it, right or wrong.

    >>> serial_reward([0, 1, 1, 0, 1], range(5)), serial_reward([0, 1, 1, 0, 1], range(5), by="exit")
    (array([0.  , 1.  , 0.5 , 0.  , 0.25]), array([0.    , 0.5   , 0.25  , 0.    , 0.0625]))
    """
    right, place = np.asarray(correct, dtype=np.bool_), np.asarray(exit_)
    counted = right if by == "right-exits" else np.ones(right.shape, dtype=np.bool_)
    before = ((place[:, None] > place) & counted).sum(axis=1)
    reward: Floats = np.where(right, float(decay) ** -before, 0.0)
    return reward


def exit_places(thought: int, exits: int, places: Literal["random", "even"], seed: int) -> Sequence[int]:
    """After how many of the `thought` tokens each exit stands, the earliest first.

    `random`: drawn from 1 to `thought` with replacement; `even`: at equal distances, the whole chain being the last.

    >>> exit_places(100, 4, "even", 0), exit_places(0, 2, "random", 0)
    ([20, 40, 60, 80], [0, 0])
    """
    if thought < 1:
        return [0] * exits
    if places == "even":
        return [round(thought * (i + 1) / (exits + 1)) for i in range(exits)]
    return sorted(np.random.default_rng(seed).integers(1, thought + 1, exits).tolist())
