"""Charge only tokens that carry no meaning, and pay wrong rollouts for meaning early on."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Column, Floats, Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping.grpo import Grpo

SIGNIFICANT = Column(
    "significant",
    "tokens of the rollout that a compressor would keep",
    example=lambda some: np.round(some.length * some.share),
    grows=True,
)
INSIGNIFICANT = Column(
    "insignificant",
    "tokens of the rollout that a compressor would drop",
    example=lambda some: np.round(some.length * (1 - some.share)),
    grows=True,
)
REFERENCE_SIGNIFICANT = Column(
    "reference_significant",
    "tokens of a reference response to the prompt that a compressor would keep",
    example=lambda some: np.round((10 + 8000 * some.group) / 2),
)
REFERENCE_INSIGNIFICANT = Column(
    "reference_insignificant",
    "tokens of a reference response to the prompt that a compressor would drop",
    example=lambda some: np.round((10 + 8000 * some.group) / 3),
)


@dataclass(frozen=True, kw_only=True)
class Bingo(ShapesReward):
    """Charge only tokens that carry no meaning, and pay wrong rollouts for meaningful ones while the model improves.

        r_i = 1 + bonus cos(x_i)                                   if right
        r_i = min(0, wrong_idle (cos(x_i) - 1) + k_t y_i - wrong)  if wrong
        x = clip(idle / idle_ref, 0, pi/2),    y = meant / meant_ref

    with the tokens of the rollout, and of one reference response to the prompt, that a compressor would drop (idle,
    `insignificant`) and keep (meant, `significant`). k starts at wrong / (pi/2). From step `begin` on it follows the
    slope of the last `window` mean rewards, in units in which the first slope gives the first k; whenever that is no
    more than `threshold`, k falls by half a unit for every such step in a row, down to -2 k_0: long wrong rollouts,
    first encouraged, are charged. State: step, scores, scale of the slope, steps of decay, k.

    The paper trains by PPO with a value head: `Shaped.reward` is the reward of a rollout's last token. Without one the
    rewards are compared within groups. Mean rewards are those of the batch before shaping. A reference without tokens
    of a kind gives a ratio of 0. Reference code: https://github.com/microsoft/Bingo (MIT); its counts are collected by
    chunks of text and shift when a rollout has several, here they belong to rollouts.
    """

    card: ClassVar = Card(
        id="bingo",
        paper="arXiv:2506.08125",
        where="significance-aware and dynamic length reward",
        needs=frozenset(),
        fidelity="paper",
        system="bingo",
        ours=("advantage",),
        requires=frozenset({SIGNIFICANT, INSIGNIFICANT, REFERENCE_SIGNIFICANT, REFERENCE_INSIGNIFICANT}),
    )
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    bonus: Annotated[float, Range(0)] = 5.0  # lambda_c
    wrong_idle: Annotated[float, Range(0)] = 2.0  # lambda_wn
    wrong: Annotated[float, Range(0)] = 5.0  # lambda_we
    begin: Annotated[int, Range(2)] = 50  # step from which k follows the slope
    window: Annotated[int, Range(2)] = 10  # steps that the slope is fitted to
    threshold: Annotated[float, Range(0)] = 2.5  # slope, in units of k, at or below which k decays
    advantage: Shaper = Grpo()

    @property
    def first_k(self) -> float:
        """k_0."""
        return self.wrong / (math.pi / 2)

    def init(self) -> State:
        return {"step": 0, "scores": [], "scale": None, "decayed": 0, "k": self.first_k}

    def update(self, state: State, rollouts: Rollouts) -> State:
        scores = [*state["scores"], float(rollouts.reward.mean())][-self.window :]
        new: dict[str, Any] = {**state, "step": state["step"] + 1, "scores": scores}
        if new["step"] < self.begin or len(scores) < 2:
            return new
        slope = float(np.polynomial.Polynomial.fit(range(len(scores)), scores, 1).convert().coef[-1])
        return {**new, **self.follow(slope, scale=state["scale"], decayed=state["decayed"])}

    def follow(self, slope: float, *, scale: float | None, decayed: int) -> dict[str, Any]:
        """Return the next k, and what it is made from: `slope` in reward per step."""
        if scale is None:
            scale = self.first_k / max(1e-6, abs(slope)) if slope else self.first_k
        k = slope * scale
        if k > self.threshold:
            return {"scale": scale, "decayed": 0, "k": k}
        return {"scale": scale, "decayed": decayed + 1, "k": max(-2 * self.first_k, -0.5 * (decayed + 1))}

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        k = (state or self.init())["k"]
        return self.advantage(rollouts.rewarded(self.reward(rollouts, k))).noted(k=k)

    def reward(self, rollouts: Rollouts, k: float) -> Floats:
        """Return the reward of each rollout, [B]."""
        x = np.clip(_ratio(rollouts["insignificant"], rollouts["reference_insignificant"]), 0, math.pi / 2)
        y = _ratio(rollouts["significant"], rollouts["reference_significant"])
        wrong = np.minimum(0.0, self.wrong_idle * (np.cos(x) - 1) + k * y - self.wrong)
        return np.where(rollouts.correct, 1 + self.bonus * np.cos(x), wrong)


def _ratio(count: Floats, reference: Floats) -> Floats:
    return np.where(reference > 0, count / np.maximum(reference, 1), 0.0)
