"""Keep entropy within a corridor around its history, for tasks of many turns."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import ENTROPY, MASK, SEGMENT, Bools, Floats, Ints, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, Shaper, State, check_advantage
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class Epo:
    """Keep entropy within a corridor around its history, for tasks of many turns.

        loss = L_pg - lam (mean H - beta_k mean(alpha P))
        P = relu(low Hbar - H) + relu(H - high Hbar),    beta_k = 1 + exp(-gamma k / floor(K / 2))

    at each token, averaged over the tokens of a turn, then turns, then rollouts; Hbar is the mean entropy of the steps
    before, over all of them. It changes no advantage and asks for no brevity. Written for the gradient: the bonus of
    each token is weighed by 1 - beta alpha above the corridor, 1 + beta alpha below it and 1 inside.

    `form=code` is what https://github.com/WujiangXu/EPO (Apache-2.0) does: P is a constant outside the corridor, hence
    without gradient, so that the bonus is plain and only the logged loss moves. Differs from that code in either form:
    it keeps Hbar by turn, one scalar here; it applies the term only where some rollout of a part has come to turn 25,
    every step here; and its sequence mode compares the mean entropy of a whole response.
    """

    card: ClassVar = Card(
        id="epo",
        paper="arXiv:2509.22576",
        where="entropy smoothing; official code for form=code",
        needs=frozenset(),
        fidelity="paper",
        system="epo",
        requires=frozenset({ENTROPY, MASK, SEGMENT}),
        ours=("advantage",),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    weight: Annotated[float, Range(0)] = 0.001  # lam
    low: Annotated[float, Range(0)] = 0.0  # lower wall in units of Hbar; 0: none
    high: Annotated[float, Range(0)] = 2.0  # upper wall
    alpha: Annotated[float, Range(0)] = 0.05  # of the corridor's penalty; 0.1 on ALFWorld
    gamma: Annotated[float, Range(0)] = 3.0
    total_steps: Annotated[int, Range(2)] = 125  # K; 150 on ALFWorld
    form: Literal["paper", "code"] = "paper"
    advantage: Shaper = Grpo()

    def __post_init__(self) -> None:
        check_advantage(self)

    @property
    def loss(self) -> Loss:
        return replace(self.advantage.loss, entropy=self.weight, entropy_weights=True, refresh=self.form == "paper")

    def init(self) -> State:
        return {"step": 0, "entropy": 0.0}

    def update(self, state: State, rollouts: Rollouts) -> State:
        """Take the step's mean entropy into the history."""
        mean = float((shares(rollouts) * rollouts["entropy"]).sum())
        n = state["step"]
        return {"step": n + 1, "entropy": (n * state["entropy"] + mean) / (n + 1)}

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        state, shaped = state or self.init(), self.advantage(rollouts)
        entropy, usual, step = rollouts["entropy"], state["entropy"], state["step"]
        share = shares(rollouts)
        walls = corridor(entropy, usual, self.low, self.high, form=self.form) * self.alpha
        how = phase(step, self.total_steps, self.gamma) if self.form == "paper" else code_phase(step, self.total_steps)
        term = -self.weight * float((share * (entropy - how * walls)).sum())
        slope = np.zeros(entropy.shape)
        if self.form == "paper":
            slope = (entropy > self.high * usual) * 1.0 - (entropy < self.low * usual)
        evenly = self.loss.share(rollouts["mask"])  # the trainer's average: ours is made one over it
        even = np.divide(share, evenly, out=np.zeros(entropy.shape), where=evenly > 0)
        entropy_weight = even * (1 - how * self.alpha * slope)
        return replace(shaped, entropy_weight=entropy_weight).noted(entropy_term=term, phase=how)


def corridor(
    entropy: ArrayLike, usual: float, low: float = 0.0, high: float = 2.0, *, form: Literal["paper", "code"] = "paper"
) -> Floats:
    """Return how far each entropy lies outside [low usual, high usual], nats; `form=code`: whether it does.

    >>> corridor([0.2, 0.9, 1.1, 0.05], 0.5).round(4), corridor([0.2, 0.9, 1.1, 0.05], 0.5, form="code")
    (array([0. , 0. , 0.1, 0. ]), array([0., 0., 1., 0.]))
    """
    h = np.asarray(entropy, dtype=np.float64)
    if form == "code":
        return ((h <= low * usual) | (h >= high * usual)).astype(np.float64)
    return np.maximum(low * usual - h, 0.0) + np.maximum(h - high * usual, 0.0)


def phase(step: int, total: int, gamma: float = 3.0) -> float:
    """beta_k of the paper: falls from 2 towards 1.

    >>> [round(phase(k, 150), 4) for k in (0, 37, 75, 150)]
    [2.0, 1.2276, 1.0498, 1.0025]
    """
    return 1 + math.exp(-gamma * step / (total // 2))


def code_phase(step: int, total: int) -> float:
    """The weight that the code uses in its place, with its jump at the middle: 0.8271 to 0.7686 after the next step.

    >>> [round(code_phase(k, 150), 4) for k in (0, 37, 75, 76)]
    [1.0, 0.8746, 0.8271, 0.7686]
    """
    half = total / 2
    if step <= half:
        return 1 - 0.2 * (1 - math.exp(-2 * step / half))
    return 0.8 * math.exp(-3 * (step - half) / (total - half))


def shares(rollouts: Rollouts) -> Floats:
    """The weight of each token in a mean over the tokens of a turn, then turns, then rollouts, [B, T]; sums to 1."""
    mask: Bools = np.asarray(rollouts["mask"], dtype=np.bool_)
    segment: Ints = np.asarray(rollouts["segment"], dtype=np.int64)
    width = int(segment.max()) + 1 if segment.size else 1
    turn = np.arange(len(rollouts))[:, None] * width + segment
    n = np.bincount(turn[mask], minlength=len(rollouts) * width).reshape(len(rollouts), width)
    turns = (n > 0).sum(axis=1)
    rows = max(int((turns > 0).sum()), 1)
    each = n.reshape(-1)[turn] * np.maximum(turns, 1)[:, None] * rows
    return np.where(mask, 1.0 / np.maximum(each, 1), 0.0)
