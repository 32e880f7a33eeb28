"""Imitate one's own best rollouts of earlier steps, more and more, while tool calls are rewarded less and less."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.arrays import as_numpy, like, namespace
from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.loss_term import Added, PolicyLoss, Tokens
from satisfice.core.rollouts import IDS, LOGPROB, MASK, PROMPT, Bools, Column, Floats, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, Shaper, State, check_advantage
from satisfice.methods.shaping.dr_grpo import DrGrpo

TURNS = Column(
    "turns",
    "turns in which the rollout called a tool",
    example=lambda some: np.floor(12 * some.share),
)


@dataclass(frozen=True, kw_only=True)
class ClipCov:
    """Leave out a few tokens of high covariance between advantage and log-probability; denominators count them.

    They are drawn from each part of a batch by `clip_cov_tokens`.
    """

    share: float  # of the tokens, at most
    low: float
    high: float
    reads: ClassVar = frozenset[str]()

    def __call__(self, part: Tokens, policy: PolicyLoss) -> Added:
        mask = as_numpy(part.mask).astype(np.bool_)
        left_out = clip_cov_tokens(
            as_numpy(part.advantage), as_numpy(part.logprob), mask, as_numpy(policy.clipped),
            share=self.share, low=self.low, high=self.high, seed=int(mask.sum()),
        )  # fmt: skip
        return Added(each=namespace(policy.each).where(like(left_out, policy.each), 0.0, policy.each))


@dataclass(frozen=True, kw_only=True)
class Spear:
    """Imitate one's own best rollouts of earlier steps, more and more, while tool calls are rewarded less and less.

        r_i = reward_i + min(1, 0.1 turns_i) 0.5 (1 + cos(pi k / K_explore)),    0 after K_explore steps
        remember rollouts with A > 0 and a tool call, forget them after `age` steps or when there are more than `size`
        A' = R - m50,    used where A' > 0
        loss += 0.5 (1 - cos(pi k / K_imitate)) loss on remembered ones,    weight 1 after K_imitate steps

    m50 is the median of the groups' means over the last `baseline` groups, so that what was good when it was
    remembered is measured by what is usual now. Nothing is divided by a standard deviation, neither in a batch nor in
    the replay, as in all of the authors' scripts; `divide=true` with `advantage=grpo` divides in both (the replay by
    the median of the groups' deviations). Both losses leave out a few tokens of high covariance between advantage and
    log-probability (`clip_cov_tokens`), so that entropy does not collapse. For tasks with tools; no brevity is asked
    for. State: the memory.

    Differs from the code, https://github.com/TencentYoutuResearch/SPEAR, of which no line is used here: remembered
    rollouts take the places of those whose groups say nothing, so a step has as many rows as without them, where that
    code waits until half as many again as `size` are remembered, trains on all of them at once and forgets them. Its
    loss keeps the three quarters of groups that spread most. The scripts set the covariance bounds that stand here
    under names that its loss does not read, so that it runs with verl's: `cov_share=0.0002, cov_high=5`. Its schedules
    end at 200 steps for tools and at 100 (ALFWorld), 200 (WebShop) or 300 (mathematics) for imitation. The memory is
    part of the state and so of every checkpoint: keep `size` small for long rollouts.
    """

    card: ClassVar = Card(
        id="spear",
        paper="arXiv:2509.22601",
        where="official code, its replay in another order",
        needs=frozenset(),
        fidelity="paper",
        system="spear",
        requires=frozenset({IDS, LOGPROB, MASK, PROMPT, TURNS}),
        ours=("advantage",),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    explore: Annotated[int, Range(1)] = 200  # steps in which tool calls are rewarded
    imitate: Annotated[int, Range(1)] = 300  # steps in which imitation grows to its full weight
    size: Annotated[int, Range(1)] = 2048  # rollouts that are remembered
    age: Annotated[int, Range(1)] = 5  # steps after which one is forgotten
    baseline: Annotated[int, Range(1)] = 10_240  # groups that the usual is taken from
    cov_share: Annotated[float, Range(0, 1)] = 0.02  # of the tokens: most that are left out of a loss; 0: none
    cov_low: Annotated[float, Range(0)] = 1.0
    cov_high: Annotated[float, Range(0)] = 40.0
    only_with_tools: bool = True  # rollouts without a tool call are not remembered
    divide: bool = False  # the replay's advantages by the median of the groups' standard deviations
    advantage: Shaper = DrGrpo(clip_high=0.28, cut_pays=True)

    def __post_init__(self) -> None:
        check_advantage(self)

    @property
    def loss(self) -> Loss:
        inner = self.advantage.loss
        term = ClipCov(share=self.cov_share, low=self.cov_low, high=self.cov_high)
        return replace(inner, dual_clip=10.0, terms=(*inner.terms, term) if self.cov_share else inner.terms)

    def init(self) -> State:
        return {"step": 0, "memory": [], "means": [], "stds": []}

    def update(self, state: State, rollouts: Rollouts) -> State:
        """Remember what was better than its group and called a tool, and what was usual."""
        groups, names, step = rollouts.groups, rollouts.prompts(), state["step"]
        reward, mask = self._reward(rollouts, step), np.asarray(rollouts["mask"], dtype=np.bool_)
        shaped = self.advantage(rollouts.rewarded(reward))
        better = np.atleast_2d(shaped.advantage.T).max(axis=0) > 1e-9  # the mean itself is not better
        if self.only_with_tools:
            better &= rollouts["turns"] > 0
        new = []
        for i in np.flatnonzero(better):
            ids, logprob = (rollouts[name][i, mask[i]] for name in ("ids", "logprob"))
            one = {"prompt": names[i], "step": step, "reward": float(reward[i]), "ids": ids.tolist()}
            new.append({**one, "logprob": [round(float(p), 5) for p in logprob]})
        new.sort(key=lambda one: (one["prompt"], one["ids"], one["reward"], one["logprob"]))
        young = [one for one in state["memory"] if step - one["step"] <= self.age]
        usual = (groups.mean(reward), groups.std(reward, ddof=1))
        seen = sorted(zip(*(values[groups.first] for values in usual), strict=True))
        means, stds = ([*state[name], *(row[i] for row in seen)] for i, name in enumerate(("means", "stds")))
        return {
            "step": step + 1,
            "memory": [*young, *new][-self.size :],
            "means": [float(x) for x in means[-self.baseline :]],
            "stds": [float(x) for x in stds[-self.baseline :]],
        }

    def replay(self, state: State) -> list[tuple[Mapping[str, Any], float]]:
        """Remembered rollouts that are still better than usual, each with its advantage as of now."""
        memory: Sequence[Mapping[str, Any]] = state["memory"]
        if not memory or not state["means"]:
            return []
        stds = state["stds"] if self.divide else None
        again = recalibrated([one["reward"] for one in memory], state["means"], stds)
        return [(one, float(a)) for one, a in zip(memory, again, strict=True) if a > 0]

    def imitation(self, state: State) -> float:
        """Weight of the loss on them."""
        return replay_weight(state["step"], self.imitate)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        state = state or self.init()
        shaped = self.advantage(rollouts.rewarded(self._reward(rollouts, state["step"])))
        return shaped.noted(
            tool_bonus=float(turn_bonus(rollouts["turns"], state["step"], self.explore).mean()),
            replay_weight=replay_weight(state["step"], self.imitate),
            remembered=float(len(state["memory"])),
        )

    def _reward(self, rollouts: Rollouts, step: int) -> Floats:
        return rollouts.reward + turn_bonus(rollouts["turns"], step, self.explore)


def turn_bonus(turns: ArrayLike, step: int, steps: int = 200) -> Floats:
    """Reward for calling tools, which fades over the first `steps` steps, [B].

    >>> [turn_bonus([6], k, 100).round(4).tolist() for k in (0, 50, 100)]
    [[0.6], [0.3], [0.0]]
    """
    fades = 0.5 * (1 + math.cos(math.pi * step / steps)) if step < steps else 0.0
    return np.minimum(1.0, 0.1 * np.asarray(turns, dtype=np.float64)) * fades


def replay_weight(step: int, steps: int = 300) -> float:
    """Weight of the loss on remembered rollouts.

    >>> [round(replay_weight(k, 200), 4) for k in (0, 50, 100, 200, 300)]
    [0.0, 0.1464, 0.5, 1.0, 1.0]
    """
    return 0.5 * (1 - math.cos(math.pi * step / steps)) if step < steps else 1.0


def recalibrated(reward: ArrayLike, means: ArrayLike, stds: ArrayLike | None = None, *, eps: float = 1e-6) -> Floats:
    """Return advantages of remembered rollouts by what is usual now, [n]: the reward less the median of group means.

    With `stds` they are divided by the median of the groups' deviations.

    >>> recalibrated([1.0, 0.2], [0.4, 0.5, 0.9]), recalibrated([1.0, 0.2], [0.4, 0.5, 0.9], [0.5, 0.25, 0.1]).round(3)
    (array([ 0.5, -0.3]), array([ 2. , -1.2]))
    """
    r, m = (np.asarray(values, dtype=np.float64) for values in (reward, means))
    above: Floats = r - np.median(m)
    return above if stds is None else above / (np.median(np.asarray(stds, dtype=np.float64)) + eps)


def clip_cov_tokens(
    advantage: ArrayLike,
    logprob: ArrayLike,
    mask: ArrayLike,
    clipped: ArrayLike,
    *,
    share: float = 0.02,
    low: float = 1.0,
    high: float = 40.0,
    seed: int = 0,
) -> Bools:
    """Return tokens whose loss is left out, [B, T]: drawn from those whose covariance lies between `low` and `high`.

    (A - mean A)(log p - mean log p) over all valid tokens; at most `share` of these, at least one, and none that is
    `clipped` anyway.
    """
    valid = np.asarray(mask, dtype=np.bool_)
    chosen = np.zeros(valid.shape, dtype=np.bool_)
    if not valid.any():
        return chosen
    a = np.broadcast_to(np.asarray(advantage, dtype=np.float64), valid.shape)[valid]
    p = np.asarray(logprob, dtype=np.float64)[valid]
    covariance = (a - a.mean()) * (p - p.mean())
    there = np.flatnonzero((covariance > low) & (covariance < high) & ~np.asarray(clipped, dtype=np.bool_)[valid])
    most = min(max(int(share * valid.sum()), 1), len(there))
    drawn = np.random.default_rng(seed).permutation(there)[:most]
    chosen.reshape(-1)[np.flatnonzero(valid)[drawn]] = True
    return chosen
