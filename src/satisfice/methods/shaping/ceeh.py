"""Press for brevity below what a prompt took so far, and let entropy grow on the hard prompts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import ENTROPY, PROMPT, Bools, Floats, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, State


@dataclass(frozen=True, kw_only=True)
class Ceeh:
    """Press for brevity below what a prompt took so far, and let entropy grow on the hard prompts.

    For each prompt it remembers an accuracy a_q and a length l_q. A right rollout is paid for being shorter than the
    record, and charged for being longer, unless its group did worse than the record:

        r_i = outcome_i + max(floor, k (l_q - L_i) / l_q) if outcome_i >= 1 and acc_q >= a_q
        A_i = r_i - mean r                     (no standard deviation)
        A_it += min(0.4 H_it, |A_i| / 2)       on hard prompts: acc_q <= mean a over the training set

    l_q moves towards the shortest right length of each visit, faster down (0.2) than up (0.05); a_q faster up than
    down. `explore=loss` weighs the entropy bonus of hard prompts 5 times as much in place of the advantage. The first
    visit of a prompt sets its record and feels no length. Reference code: https://github.com/QinwenLuo/CEEH
    (Apache-2.0).

    Differs from the code, of which we have a digest only: groups are formed by prompt, not by the place of rows; its
    configuration adds DAPO's charge for the last 4096 tokens before the limit, which is a method of its own here.
    """

    card: ClassVar = Card(
        id="ceeh",
        paper="arXiv:2602.22642",
        where="digest of the official code",
        needs=frozenset(),
        fidelity="second-hand",
        system="ceeh",
        requires=frozenset({PROMPT, ENTROPY}),
        ours=("prompts", "total_steps"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=True)

    scale: Annotated[float, Range(0)] = 0.5  # k; 0.1 in an example of the code
    floor: Annotated[float, Range(high=0)] = -0.9  # lowest length reward
    fast: Annotated[float, Range(0, 1)] = 0.2  # weight of the new value: shorter lengths, rising accuracy
    slow: Annotated[float, Range(0, 1)] = 0.05  # longer lengths, falling accuracy
    explore: Literal["advantage", "loss"] = "advantage"  # the paper's EA and ME
    entropy_gain: Annotated[float, Range(0)] = 0.4  # per nat
    entropy_share: Annotated[float, Range(1)] = 2.0  # the gain is at most |A| divided by this
    bonus: Annotated[float, Range(0)] = 0.001  # explore=loss: weight of the entropy bonus
    bonus_factor: Annotated[float, Range(1)] = 5.0  # and how much more it weighs on hard prompts
    retain: bool = False  # explore=loss: anneal the factor to 1, not the whole bonus to 0
    anneal: Literal["constant", "linear", "cosine"] = "constant"
    total_steps: Annotated[int, Range(1)] = 1000  # where the annealing ends
    prompts: Annotated[int, Range(1)] | None = None  # in the training set; none: those met so far
    kl: Annotated[float, Range(0)] = 0.001
    clip_high: Annotated[float, Range(0)] = 0.28

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loss(self) -> Loss:
        weighed = self.explore == "loss"
        return Loss(
            clip_high=self.clip_high, kl=self.kl, entropy=self.bonus if weighed else 0.0, entropy_weights=weighed
        )

    def init(self) -> State:
        return {"step": 0, "records": {}}

    def update(self, state: State, rollouts: Rollouts) -> State:
        names, right = rollouts.prompts(), rollouts.reward >= 1
        shortest, some = rollouts.groups.min(rollouts.length, right), rollouts.groups.any(right)
        accuracy = rollouts.groups.mean(right)
        records: dict[str, Any] = dict(state["records"])
        for row in rollouts.groups.first:
            was = records.get(names[row], UNSEEN)
            length = self._length(was["length"], float(shortest[row])) if some[row] else was["length"]
            records[names[row]] = {"accuracy": self._accuracy(was["accuracy"], float(accuracy[row])), "length": length}
        return {"step": state["step"] + 1, "records": records}

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        state = state or self.init()
        records = [state["records"].get(name, UNSEEN) for name in rollouts.prompts()]
        best = np.array([record["accuracy"] for record in records], dtype=np.float64)
        usual = np.array([record["length"] for record in records], dtype=np.float64)
        right = rollouts.reward >= 1
        accuracy = rollouts.groups.mean(right)
        felt = right & (accuracy >= best) & (usual > 0)
        saved = self.scale * (usual - rollouts.length) / np.maximum(usual, 1.0)
        reward = rollouts.reward + np.where(felt, np.maximum(self.floor, saved), 0.0)
        advantage = reward - rollouts.groups.mean(reward)
        hard = accuracy <= self._mean_accuracy(state["records"])
        left = annealed(self.anneal, state["step"] / self.total_steps)
        shaped = Shaped(advantage=advantage, reward=reward).noted(hard=float(hard.mean()), anneal=left)
        return self._explored(shaped, rollouts, hard, left)

    def _explored(self, shaped: Shaped, rollouts: Rollouts, hard: Bools, left: float) -> Shaped:
        if self.explore == "advantage":
            gain = entropy_gain(shaped.advantage, rollouts["entropy"], self.entropy_gain, self.entropy_share)
            return replace(shaped, advantage=shaped.advantage[:, None] + gain * left * hard[:, None])
        factor = 1 + (self.bonus_factor - 1) * left if self.retain else self.bonus_factor
        weight = np.where(hard, factor, 1.0)
        tokens = rollouts.length.astype(np.float64)  # sum(w H) / sum(w): the mean of all tokens, made one over weights
        weight *= tokens.sum() / max(float((weight * tokens).sum()), 1.0) * (1.0 if self.retain else left)
        return replace(shaped, entropy_weight=weight)

    def _length(self, record: float, shortest: float) -> float:
        if not record:
            return shortest
        new = self.fast if shortest < record else self.slow
        return new * shortest + (1 - new) * record

    def _accuracy(self, record: float, accuracy: float) -> float:
        if record <= 0:
            return accuracy
        new = self.fast if accuracy > record else self.slow
        return new * accuracy + (1 - new) * record

    def _mean_accuracy(self, records: Mapping[str, Any]) -> float:
        met = [record["accuracy"] for record in records.values()]
        unmet = max((self.prompts or len(met)) - len(met), 0)
        return (sum(met) - unmet) / (len(met) + unmet) if met else UNSEEN["accuracy"]


UNSEEN: Mapping[str, float] = {"accuracy": -1.0, "length": 0.0}
"""The record of a prompt that was never visited."""


def annealed(how: str, done: float) -> float:
    """What is left of a weight once a share `done` of the steps is: 1 at 0, and 0 from 1 on unless it is constant.

    >>> annealed("constant", 0.5), annealed("linear", 0.25), round(annealed("cosine", 0.25), 4), annealed("cosine", 2)
    (1.0, 0.75, 0.8536, 0.0)
    """
    x = min(max(done, 0.0), 1.0)
    return {"constant": 1.0, "linear": 1 - x, "cosine": 0.5 * (1 + math.cos(math.pi * x))}[how]


def entropy_gain(advantage: ArrayLike, entropy: ArrayLike, gain: float = 0.4, share: float = 2.0) -> Floats:
    """Return what entropy [B, T], in nats, adds to advantages [B] on a hard prompt.

    >>> entropy_gain([0.6], [[0.2, 1.5]]).round(4)
    array([[0.08, 0.3 ]])
    """
    most = np.abs(np.asarray(advantage, dtype=np.float64))[:, None] / share
    return np.minimum(gain * np.asarray(entropy, dtype=np.float64), most)
