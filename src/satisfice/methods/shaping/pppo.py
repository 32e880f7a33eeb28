"""Train on the beginning of each rollout only, and judge a beginning by how often it can be finished well."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range
from satisfice.core.rollouts import MASK, Column, Floats, Ints, Rollouts
from satisfice.core.session import Session
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State, check_advantage
from satisfice.core.steering import Right, Rolled
from satisfice.methods.shaping.grpo import Grpo

CONTINUATIONS_RIGHT = Column(
    "continuations_right",
    "right ones among the continuations that were sampled from the rollout's first part",
    example=lambda some: np.floor(9 * some.share),
)


@dataclass(frozen=True, kw_only=True)
class Pppo(ShapesReward):
    """Train on the beginning of each rollout only, and judge a beginning by how often it can be finished well.

    Each rollout is cut to its first eta share, and `continuations` others are sampled from there:

        R_i = right continuations + [rollout i right],    A_i = (R_i - mean R) / std R
        loss = sum_i sum_{j <= floor(eta L_i)} l_ij / sum_i L_i

    over all tokens, not over those that are kept. eta begins at `first` and grows by `grow` up to `last` whenever
    accuracy on a fixed set of problems has stopped rising: no better than its best for `patience` looks, one every
    `every` steps (the paper does not say how that is judged). A rollout too short to have a beginning is left out.
    The advantage's divergence of 0 is ours: what we know of the paper names clips and no divergence.
    """

    card: ClassVar = Card(
        id="pppo",
        paper="arXiv:2512.15274",
        where="prefix mask, retention schedule, continuation reward",
        needs=frozenset({Need.FORK}),
        fidelity="second-hand",
        system="pppo",
        requires=frozenset({CONTINUATIONS_RIGHT, MASK}),
        ours=("every", "patience", "monitor_prompts", "advantage"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)
    makes: ClassVar = frozenset({"continuations_right"})

    continuations: Annotated[int, Range(0)] = 8  # of each rollout's beginning
    first: Annotated[float, Range(0, 1)] = 0.15  # eta at the start, share of the rollout
    last: Annotated[float, Range(0, 1)] = 0.35
    grow: Annotated[float, Range(0, 1)] = 0.05
    every: Annotated[int, Range(1)] = 10  # steps between two looks at the fixed problems
    patience: Annotated[int, Range(1)] = 1  # looks without a new best after which eta grows
    monitor_prompts: Annotated[int, Range(1)] = 32
    advantage: Shaper = Grpo(clip_high=0.28, kl=0.0, aggregation="token")

    def __post_init__(self) -> None:
        check_advantage(self)
        if self.first > self.last:
            raise BadInput(f"pppo: first must not exceed last ({self.last}), got {self.first}. Lower it.")

    def init(self) -> State:
        return {"step": 0, "eta": self.first, "best": -1.0, "stale": 0}

    def update(self, state: State, rollouts: Rollouts) -> State:
        return {**state, "step": state["step"] + 1}

    def monitor_due(self, state: State) -> bool:
        return bool(state["step"] % self.every == 0)

    def monitor(self, state: State, rollouts: Rollouts) -> State:
        """Look at the fixed problems: eta grows where accuracy has stopped rising."""
        accuracy = float(rollouts.correct.mean())
        stale = 0 if accuracy > state["best"] else state["stale"] + 1
        eta = state["eta"]
        if stale >= self.patience:
            eta, stale = min(self.last, round(eta + self.grow, 9)), 0
        return {**state, "eta": eta, "best": max(state["best"], accuracy), "stale": stale}

    async def roll(self, session: Session, size: int, right: Right, state: State = STATELESS) -> list[Rolled]:
        """Whole rollouts, and continuations of their beginnings, which are judged and given up."""
        eta = (state or self.init())["eta"]

        async def one(chain: Chain) -> Chain:
            while await chain.think():
                pass
            return await chain.finish() if chain.ended == "model" else chain

        whole = await _all(session, [session.chain() for _ in range(size)], one)
        begins = [min(int(prefix_lengths(len(chain), eta)), chain.thought) for chain in whole]
        tries = [
            chain.branch(begin) for chain, begin in zip(whole, begins, strict=True) for _ in range(self.continuations)
        ]
        verdicts = [await right(chain) for chain in await _all(session, tries, one)]
        for chain in tries:
            chain.drop()
        n = self.continuations
        return [
            Rolled(chain=chain, columns={"continuations_right": float(sum(verdicts[i * n : (i + 1) * n]))})
            for i, chain in enumerate(whole)
        ]

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        eta = (state or self.init())["eta"]
        reward = continued_reward(rollouts["continuations_right"], rollouts.correct)
        weight = prefix_mask(rollouts["mask"], eta)
        kept = float(weight.sum() / max(float(np.asarray(rollouts["mask"]).sum()), 1.0))
        shaped = self.advantage(rollouts.rewarded(reward)).keeping(weight.sum(axis=1) > 0)
        return replace(shaped, weight=weight).noted(eta=eta, trained_share=kept)


async def _all(
    session: Session, chains: Sequence[Chain], work: Callable[[Chain], Coroutine[Any, Any, Chain]]
) -> list[Chain]:
    """Return the chains, once all are done."""
    tasks = [session.start(work(chain)) for chain in chains]
    return [await task for task in tasks]


def prefix_lengths(length: ArrayLike, eta: float) -> Ints:
    """Return tokens of the beginning of each rollout: floor(eta L), [B].

    >>> prefix_lengths([20, 33, 5], 0.15)
    array([3, 4, 0])
    """
    found: Ints = np.floor(eta * np.asarray(length, dtype=np.float64) + 1e-9).astype(np.int64)
    return found


def prefix_mask(mask: ArrayLike, eta: float) -> Floats:
    """1 for the tokens of each rollout's beginning, 0 for the rest, [B, T]."""
    there = np.asarray(mask, dtype=np.bool_)
    kept = prefix_lengths(there.sum(axis=1), eta)
    found: Floats = (there & (np.cumsum(there, axis=1) <= kept[:, None])).astype(np.float64)
    return found


def continued_reward(continuations_right: ArrayLike, correct: ArrayLike) -> Floats:
    """Return how many of a beginning's continuations are right, the rollout's own included, [B].

    >>> continued_reward([3, 1, 0], [1, 0, 0])
    array([4., 1., 0.])
    """
    return np.asarray(continuations_right, dtype=np.float64) + np.asarray(correct, dtype=np.float64)
