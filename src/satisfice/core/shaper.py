"""How training feels length: what a shaper is, what it gives back, and what it asks of the loss.

A shaper is a pure function of a batch of rollouts, in stages that a method may leave out: cap (how long may a rollout
be) -> reward -> advantage -> select (which rollouts or tokens count) -> loss. What it remembers goes in and comes out.
A trainer does, in each step:

    caps = caps_for(shaper, state, prompts)       # before sampling; None: no cap of the shaper's own
    shaped = shaper(rollouts, state)              # whole groups, the whole batch
    state = advance(shaper, state, rollouts)      # a JSON object: put it into the checkpoint
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import check_fields
from satisfice.core.fit import asks, cards
from satisfice.core.loss_term import LossTerm
from satisfice.core.method import Kind
from satisfice.core.problem import Problem
from satisfice.core.rollouts import Bools, Column, Floats, Ints, Rollouts

State = Mapping[str, Any]
"""What a shaper remembers from step to step: a JSON object, never changed in place."""

STATELESS: State = {}

Aggregation = Literal["token", "sequence", "constant"]
RewardRange = Literal["0/1", "+-1"]
"""What a right and a wrong verdict are worth before any shaping."""

DIVERGENCE = frozenset({"logprob", "reference_logprob", "mask"})
"""Columns that a divergence in the reward is made of."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """How a trainer is to make a loss out of advantages: plain data, read by its adapter.

        loss[i,t] = -min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A),    rho = p_new / p_old

    bounded by dual_clip * -A where A < 0, then averaged as `aggregation` says.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None  # c > 1: the loss of a token with A < 0 is at most -c A; None: unbounded
    ratio: Literal["token", "sequence", "none"] = (
        "token"  # rho of each token; exp of the mean log-ratio; no rho: -A logp
    )
    aggregation: Aggregation = "token"  # mean over all tokens; over sequences of their token means; sum / (B constant)
    constant: int | None = None  # tokens; None: the length limit of the trainer
    kl: float = 0.0  # weight of the divergence from the reference policy; 0: none is needed
    kl_kind: Literal["k1", "k2", "k3"] = "k3"  # d, d^2 / 2, exp(d) - d - 1 with d = logp_ref - logp
    kl_in: Literal["loss", "reward"] = "loss"  # reward: the shaper charges it, by the column `reference_logprob`
    entropy: float = 0.0  # weight of the entropy bonus, averaged over tokens by the same shares as the loss
    entropy_weights: bool = False  # it weighs as much in each token as `Shaped.entropy_weight` says
    top_entropy: float = 1.0  # share of tokens, those of highest entropy, that are trained on
    refresh: bool = False  # advantages depend on log-probs: shape again with current ones before every update
    terms: tuple[LossTerm, ...] = ()  # what the method alone adds

    @property
    def reads(self) -> frozenset[str]:
        """Return what the terms need beyond the required fields of `Tokens`."""
        return frozenset().union(*(term.reads for term in self.terms))

    def token_loss(self, ratio: ArrayLike, advantage: ArrayLike) -> Floats:
        """Loss of each token, before averaging; any shapes that go together.

        >>> Loss(clip_high=0.28).token_loss([1.5, 0.5, 1.5], [1, -1, -1])
        array([-1.28,  0.8 ,  1.5 ])
        """
        rho, a = np.asarray(ratio, dtype=np.float64), np.asarray(advantage, dtype=np.float64)
        loss = np.maximum(-rho * a, -np.clip(rho, 1 - self.clip_low, 1 + self.clip_high) * a)
        return loss if self.dual_clip is None else np.where(a < 0, np.minimum(loss, -self.dual_clip * a), loss)

    def policy_loss(self, shaped: "Shaped", logprob: ArrayLike, old_logprob: ArrayLike, mask: ArrayLike) -> float:
        """The whole loss of a batch but for `kl`, `entropy`, `top_entropy` and `terms`: to hold an adapter against.

        Log-probs in nats and `mask` of shape [B, T].
        """
        counts = np.asarray(mask, dtype=np.float64)
        new, old = (np.where(counts > 0, np.asarray(x, dtype=np.float64), 0.0) for x in (logprob, old_logprob))
        advantage = shaped.advantage if shaped.advantage.ndim == 2 else shaped.advantage[:, None]
        weight = np.ones(1) if shaped.weight is None else shaped.weight
        change = new - old
        if self.ratio == "sequence":
            change = change.sum(axis=1, keepdims=True) / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
        loss = -advantage * new if self.ratio == "none" else self.token_loss(np.exp(change), advantage)
        share = self.share(counts, shaped.keep) * (weight if weight.ndim == 2 else weight[:, None])
        return float((share * loss).sum())

    def share(self, mask: ArrayLike, keep: ArrayLike | None = None) -> Floats:
        """Return how much each token's loss weighs in the average, [B, T].

        Rollouts that are not kept are out of the denominator too; what has weight 0 is not.
        """
        counts: Floats = np.asarray(mask, dtype=np.float64)
        if keep is not None:
            counts = counts * np.asarray(keep, dtype=np.float64)[:, None]
        length: Floats = counts.sum(axis=1, keepdims=True)
        rows = counts.shape[0] if keep is None else int(np.asarray(keep, dtype=np.bool_).sum())
        match self.aggregation:
            case "token":
                return counts / max(float(length.sum()), 1.0)
            case "sequence":
                return counts / np.maximum(length, 1.0) / max(rows, 1)
            case "constant":
                return counts / (max(rows, 1) * (counts.shape[1] if self.constant is None else self.constant))


@dataclass(frozen=True, kw_only=True, eq=False)
class Shaped:
    """What a shaper makes of a batch."""

    advantage: Floats  # [B] or [B, T]
    reward: Floats  # [B] after shaping: for logs, and for trainers with a value head
    keep: Bools = None  # type: ignore[assignment]  # [B] the rest is left out, or sampled again; by default all are kept
    weight: Floats | None = None  # [B] or [B, T] factor of the loss; denominators go on counting; None: 1 everywhere
    entropy_weight: Floats | None = None  # [B] or [B, T] factor of the entropy bonus; None: 1 everywhere
    columns: Mapping[str, Floats] = field(default_factory=dict)  # [B] or [B, T] what the terms of the loss read
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = (len(self.reward),)
        if self.keep is None:
            object.__setattr__(self, "keep", np.ones(rows, np.bool_))
        named = {name: getattr(self, name) for name in ("advantage", "reward", "keep", "weight", "entropy_weight")}
        for name, values in (*named.items(), *self.columns.items()):
            if values is not None and (values.shape[:1] != rows or not np.isfinite(values).all()):
                raise BadInput(f"Shaped: {name} must be finite with {rows[0]} rows, got shape {values.shape}.")

    def noted(self, **metrics: float) -> "Shaped":
        """Return a copy with further metrics."""
        return dataclasses.replace(self, metrics={**self.metrics, **metrics})

    def keeping(self, keep: Bools) -> "Shaped":
        """Return a copy that keeps only rows that it kept before and that `keep` names."""
        return dataclasses.replace(self, keep=self.keep & keep)


@dataclass(frozen=True, kw_only=True)
class Pressure:
    """Where a method presses on length, which is where papers differ most."""

    wrong: bool  # wrong rollouts are treated differently by their length
    all_right: bool  # so are the rollouts of a group in which all are right


class Shaper(Protocol):
    """A method of the shaping family: a frozen dataclass that is a pure function of rollouts and state."""

    card: ClassVar[Card]

    @property
    def pressure(self) -> Pressure:
        """Where it presses on length; a class attribute where no field changes it."""

    @property
    def loss(self) -> Loss:
        """What the method asks of the loss."""

    def __call__(self, rollouts: Rollouts, state: State = ..., /) -> Shaped: ...


SHAPER: Kind[Shaper] = Kind(
    name="shaper",
    protocol=Shaper,
    example="dr-grpo,dapo",
    about="A shaper is called with a batch of rollouts, `shaper(rollouts, state)`, and returns their advantages; "
    "`loss` and `pressure` say what it asks of the loss and where it presses on length.",
    battery="satisfice.testing.shapers:check_shaper",
)


@runtime_checkable
class Stateful(Protocol):
    """A shaper that remembers."""

    def init(self) -> State: ...

    def update(self, state: State, rollouts: Rollouts, /) -> State: ...


@runtime_checkable
class Capping(Protocol):
    """A shaper that says how long the next rollouts may be."""

    def cap(self, state: State, prompts: Sequence[str], /) -> Ints: ...


@runtime_checkable
class Cutting(Protocol):
    """A shaper that cuts finished rollouts: to these lengths [B], to be verified again before they are shaped."""

    def cut(self, rollouts: Rollouts, state: State, /) -> Ints: ...


@runtime_checkable
class Monitoring(Protocol):
    """A shaper that watches a fixed set of prompts: when due, the trainer samples it and passes on what it got."""

    def monitor_due(self, state: State, /) -> bool: ...

    def monitor(self, state: State, rollouts: Rollouts, /) -> State: ...


@runtime_checkable
class Asking(Protocol):
    """A shaper whose prompts must state a number, such as a token budget: without it the reward means nothing.

    A trainer that cannot change prompts must refuse it.
    """

    asks: ClassVar[str]  # the column of the number

    def requested(self, state: State, prompt: str, given: float | None, /) -> float:
        """Return the number for a prompt, by its lasting name; `given` is what the data says, if it does."""

    def suffix(self, value: float, /) -> str:
        """Return what the prompt says, after the question."""


def check_advantage(shaper: Any) -> None:
    """For `__post_init__` of a method that hands its reward on: check its fields, and the method it hands it to.

    Raises:
        BadInput: a field of the wrong type or out of range, or an `advantage` that is no shaper or remembers things.
    """
    check_fields(shaper)
    inner = shaper.advantage
    if not isinstance(getattr(inner, "loss", None), Loss) or isinstance(inner, Stateful | Capping):
        raise BadInput(
            f"{shaper.card.id}: advantage must be a shaper without a state, such as grpo, dr-grpo or rloo; "
            f"got {getattr(getattr(inner, 'card', None), 'id', inner)}."
        )


class ShapesReward:
    """For a shaper that shapes the reward and hands it on to the method in its field `advantage`."""

    advantage: Shaper

    def __post_init__(self) -> None:
        check_advantage(self)

    @property
    def loss(self) -> Loss:
        return self.advantage.loss


class CountsSteps:
    """For a shaper that remembers how many steps it has taken, and nothing else."""

    def init(self) -> State:
        return {"step": 0}

    def update(self, state: State, rollouts: Rollouts, /) -> State:
        return {"step": state["step"] + 1}


def start(shaper: Shaper) -> State:
    """Return the state before the first step."""
    return shaper.init() if isinstance(shaper, Stateful) else STATELESS


def advance(shaper: Shaper, state: State, rollouts: Rollouts) -> State:
    """Return the state after a step: give it the rollouts as they were before shaping."""
    return shaper.update(state, rollouts) if isinstance(shaper, Stateful) else state


def caps_for(shaper: Shaper, state: State, prompts: Sequence[str]) -> Ints | None:
    """Return the most tokens of the next rollouts of these prompts, one number each; None: the trainer's limit."""
    return shaper.cap(state, prompts) if isinstance(shaper, Capping) else None


def columns_of(shaper: Shaper) -> frozenset[Column]:
    """Return the columns that a shaper, or one inside it, reads or uses where they are there."""
    named = frozenset().union(*(card.requires | card.optional for card in cards(shaper)))
    return frozenset(one for one in named if isinstance(one, Column))


def reads(shaper: Shaper) -> frozenset[str]:
    """Return the names of the columns that a shaper, or one inside it, cannot do without."""
    charged = DIVERGENCE if shaper.loss.kl and shaper.loss.kl_in == "reward" else frozenset[str]()
    return charged | {one.name for one in asks(shaper, "data")}


def reward_range(shaper: Shaper) -> RewardRange:
    """Return what a right and a wrong verdict are worth to a method where a run does not say: 1 and 0 for most."""
    own: RewardRange = getattr(shaper, "reward_range", "0/1")
    return own


def worth(correct: ArrayLike, kind: RewardRange) -> Floats:
    """Return the rewards of verdicts: 1 for right, and 0 or -1 for wrong.

    >>> worth([True, False], "0/1"), worth([True, False], "+-1")
    (array([1., 0.]), array([ 1., -1.]))
    """
    right = np.asarray(correct, dtype=np.float64)
    return right if kind == "0/1" else 2 * right - 1


def asking(shaper: Shaper) -> Asking | None:
    """Return the method whose prompts must state a number, the shaper or one inside it; None: they state nothing."""
    if isinstance(shaper, Asking):
        return shaper
    return next(filter(None, map(asking, _inner(shaper))), None)


def with_request(shaper: Shaper, state: State, problem: Problem) -> Problem:
    """Return the problem as a training with this method asks it: what the prompt must state stands in its question.

    The number also stands in the metadata of what is returned, so that the reward is measured against what the model
    was told.

    Raises:
        BadInput: the problem brings something else than a number.
    """
    method = asking(shaper)
    if method is None:
        return problem
    given = problem.metadata.get(method.asks)
    if given is not None and (isinstance(given, bool) or not isinstance(given, int | float)):
        raise BadInput(f"{problem.task}: {method.asks} of problem {problem.id} must be a number, got {given!r}.")
    value = method.requested(state, problem.id, given)
    return dataclasses.replace(
        problem,
        question=f"{problem.question} {method.suffix(value)}",
        metadata={**problem.metadata, method.asks: value},
    )


def _inner(shaper: Shaper) -> list[Any]:
    """Return the methods in a shaper's fields."""
    parts = [getattr(shaper, part.name) for part in dataclasses.fields(shaper)]  # type: ignore[arg-type]
    return [part for part in parts if isinstance(getattr(part, "card", None), Card)]
