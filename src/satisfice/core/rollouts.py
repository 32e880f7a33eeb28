"""A batch of rollouts as columns, and statistics over the groups in it.

Legend: B rollouts in the batch, T tokens of the longest of them. A group is the rollouts of one prompt; its rows may
stand anywhere in the batch. Lengths are in tokens, probabilities in nats.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.card import Requirement
from satisfice.core.errors import BadInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Some:
    """What the battery makes plausible columns from: a batch, and random numbers in [0, 1)."""

    correct: Bools  # [B]
    length: Ints  # [B]
    truncated: Bools  # [B]
    group: Floats  # [B] one number for each prompt, the same whichever column asks
    share: Floats  # [B] one number for each rollout, another for each column
    token_share: Floats  # [B, T] one for each token, likewise


@dataclass(frozen=True)
class Column(Requirement):
    """A column that a method reads beside those that every batch has: declared in the method's file.

    >>> Column("level", "how verbose the prompt asked to be", example=lambda some: np.floor(3 * some.group)).host
    'data'
    """

    example: Callable[[Some], NDArray[Any]] | None = field(default=None, compare=False, kw_only=True)
    per: Literal["rollout", "token"] = field(default="rollout", kw_only=True)  # one value for each
    grows: bool = field(default=False, kw_only=True)  # counts something in the rollout, so it grows with the length

    def made(self, some: Some) -> NDArray[Any]:
        """Return plausible values for a test, by `example`; without one, numbers in [0, 1)."""
        if self.example is None:
            return some.share if self.per == "rollout" else some.token_share
        return np.asarray(self.example(some))


ENTROPY = Column("entropy", "entropy of the next-token distribution, nats", per="token")
IDS = Column("ids", "token ids", per="token", example=lambda some: np.floor(5 * some.token_share).astype(np.int64))
LOGPROB = Column(
    "logprob", "log-probability of the token under the policy that is trained, before this update, nats",
    per="token", example=lambda some: -some.token_share,
)  # fmt: skip
MASK = Column(
    "mask", "the loss counts this token: the policy sampled it, for this rollout",
    per="token", example=lambda some: _first(some.length, some.token_share.shape[1]),
)  # fmt: skip
REFERENCE_LOGPROB = Column(
    "reference_logprob", "log-probability of the token under the reference policy, nats",
    per="token", example=lambda some: -some.token_share,
)  # fmt: skip
SEGMENT = Column(
    "segment", "which part (turn, step) of a rollout the token belongs to, counted from 0",
    per="token", example=lambda some: np.sort(np.floor(3 * some.token_share), axis=1).astype(np.int64),
)  # fmt: skip
VALUE = Column("value", "what a value head expects from here on", per="token", example=lambda some: some.token_share)
PROMPT = Requirement("prompt", "a lasting name of the prompt")  # its place is `Rollouts.prompt`


@dataclass(frozen=True, kw_only=True, eq=False)
class Rollouts:
    """A batch of B rollouts, whole groups of them.

    Rows whose verdict is unknown do not belong in a batch: leave them out with `take` and give them weight 0.

    Raises:
        BadInput: columns of different lengths, an empty batch, values that mean nothing (a negative length, NaN).
    """

    group: NDArray[Any]  # [B] which prompt, within this batch: numbers or text
    correct: Bools  # [B] the verifier's verdict
    length: Ints  # [B] sampled tokens, thinking and answer and the end of the turn
    truncated: Bools = None  # type: ignore[assignment]  # [B] a token limit ended it; by default none was
    reward: Floats = None  # type: ignore[assignment]  # [B] before any shaping; by default 1 if correct, else 0
    prompt: NDArray[np.str_] | None = None  # [B] lasting name of the prompt: the key of what is remembered about it
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # name -> [B]
    tokens: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # name -> [B, T]

    def __post_init__(self) -> None:
        rows = np.asarray(self.length).shape
        if len(rows) != 1 or not rows[0]:
            raise BadInput(f"Rollouts: length must have shape [B] with at least one rollout, got shape {rows}.")
        correct = _column("correct", self.correct, rows)
        if not np.isin(correct, (0, 1)).all():
            raise BadInput("Rollouts: correct must be 0 or 1. Leave out rows whose verdict is unknown.")
        length = _column("length", self.length, rows)
        if (length < 0).any() or (length != np.floor(length)).any():
            raise BadInput("Rollouts: length must hold whole numbers of tokens, none negative.")
        reward = correct if self.reward is None else _column("reward", self.reward, rows)
        truncated = np.zeros(rows, bool) if self.truncated is None else _column("truncated", self.truncated, rows)
        columns = {name: _column(name, values, rows) for name, values in self.columns.items()}
        tokens = {name: np.asarray(values) for name, values in self.tokens.items()}
        width = next((values.shape[1:] for values in tokens.values()), ())
        for name, values in tokens.items():
            if values.ndim != 2 or values.shape != (*rows, *width):
                raise BadInput(
                    f"Rollouts: tokens must have shape [B, T], the same for all; {name} has {values.shape}, "
                    f"B is {rows[0]}."
                )
        parts = {
            "group": _labels("group", self.group, rows),
            "correct": correct.astype(np.bool_),
            "length": length.astype(np.int64),
            "truncated": truncated.astype(np.bool_),
            "reward": reward.astype(np.float64),
            "prompt": None if self.prompt is None else _labels("prompt", self.prompt, rows).astype(np.str_),
            "columns": {name: _sealed(values) for name, values in columns.items()},
            "tokens": {name: _sealed(values) for name, values in tokens.items()},
        }
        for name, value in parts.items():
            object.__setattr__(self, name, _sealed(value) if isinstance(value, np.ndarray) else value)

    def __len__(self) -> int:
        return len(self.length)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column by its name, [B] or [B, T].

        Raises:
            BadInput: the batch does not have it.
        """
        found = self.columns.get(name, self.tokens.get(name))
        if found is None:
            raise BadInput(
                f"Rollouts: there is no {name!r}. Give it when the batch is made: Rollouts(..., columns={{{name!r}: "
                "...}), or tokens= where it has a value for each token."
            )
        return found

    @cached_property
    def groups(self) -> "Groups":
        """Which rows belong together."""
        return Groups(self.group)

    @property
    def accuracy(self) -> Floats:
        """Share of right rollouts in each row's group, [B]."""
        return self.groups.mean(self.correct)

    def prompts(self) -> list[str]:
        """Return the lasting name of each row's prompt.

        Raises:
            BadInput: the batch was made without them.
        """
        if self.prompt is None:
            raise BadInput(
                "Rollouts: this method remembers prompts, and the batch does not name them. "
                "Give prompt=, a lasting name per row."
            )
        return [str(name) for name in self.prompt]

    def rewarded(self, reward: ArrayLike) -> "Rollouts":
        """Return a copy with another reward."""
        return dataclasses.replace(self, reward=np.asarray(reward, dtype=np.float64))

    def take(self, rows: ArrayLike) -> "Rollouts":
        """Return some of the rows, by mask [B] or by number."""
        some = np.asarray(rows)
        return Rollouts(
            group=self.group[some],
            correct=self.correct[some],
            length=self.length[some],
            truncated=self.truncated[some],
            reward=self.reward[some],
            prompt=None if self.prompt is None else self.prompt[some],
            columns={name: values[some] for name, values in self.columns.items()},
            tokens={name: values[some] for name, values in self.tokens.items()},
        )

    def summary(self) -> dict[str, float]:
        """Return what every run logs about a batch, before any shaping; a mean over no rows is left out."""
        parts = {"length_right": self.correct, "length_wrong": ~self.correct, "length": np.ones(len(self), bool)}
        means = {name: float(self.length[rows].mean()) for name, rows in parts.items() if rows.any()}
        shares = {"accuracy": self.correct, "truncated": self.truncated}
        every, some = self.groups.all(self.correct), self.groups.any(self.correct)
        shares |= {"groups_all_right": every[self.groups.first], "groups_all_wrong": ~some[self.groups.first]}
        return means | {name: float(rows.mean()) for name, rows in shares.items()}


class Groups:
    """Statistics within groups, each given back to all rows of its group: [B] in, [B] out.

    `where` says which rows count. A group in which no row counts gives `empty`.

    >>> groups = Groups(["a", "b", "a"])
    >>> groups.mean([1.0, 5.0, 3.0]), groups.index
    (array([2., 5., 2.]), array([0, 1, 0]))
    """

    def __init__(self, labels: ArrayLike) -> None:
        _, first, inverse = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
        self.index: Ints = inverse.reshape(-1).astype(np.int64)  # [B] number of each row's group, in order of labels
        self.first: Ints = first.astype(np.int64)  # [groups] one row of each
        self.count = len(first)

    def __iter__(self) -> Iterator[Ints]:
        """The rows of each group."""
        return iter(np.flatnonzero(self.index == number) for number in range(self.count))

    @property
    def size(self) -> Ints:
        """Rows of the group, [B]."""
        return np.bincount(self.index, minlength=self.count)[self.index]

    def total(self, values: ArrayLike, where: Bools | None = None) -> Floats:
        """Sum."""
        return self._totals(np.asarray(values, dtype=np.float64), where)[self.index]

    def mean(self, values: ArrayLike, where: Bools | None = None, *, empty: float = 0.0) -> Floats:
        """Arithmetic mean."""
        n = self._counts(where)
        sums = self._totals(np.asarray(values, dtype=np.float64), where)
        return np.where(n > 0, sums / np.maximum(n, 1), empty)[self.index]

    def std(self, values: ArrayLike, where: Bools | None = None, *, ddof: int, empty: float = 0.0) -> Floats:
        """Standard deviation: `ddof` 1 divides by n - 1 (a sample), 0 by n (the whole population).

        `empty` also where there are no more than `ddof` rows.
        """
        x = np.asarray(values, dtype=np.float64)
        n = self._counts(where)
        squares = self._totals((x - self.mean(x, where)) ** 2, where)
        return np.where(n > ddof, np.sqrt(squares / np.maximum(n - ddof, 1)), empty)[self.index]

    def min(self, values: ArrayLike, where: Bools | None = None, *, empty: float = 0.0) -> Floats:
        """Smallest value."""
        return -self.max(-np.asarray(values, dtype=np.float64), where, empty=-empty)

    def max(self, values: ArrayLike, where: Bools | None = None, *, empty: float = 0.0) -> Floats:
        """Largest value."""
        x, rows = np.asarray(values, dtype=np.float64), slice(None) if where is None else where
        top = np.full(self.count, -np.inf)
        np.maximum.at(top, self.index[rows], x[rows])
        return np.where(self._counts(where) > 0, top, empty)[self.index]

    def any(self, values: ArrayLike) -> Bools:
        """Return whether it holds for some row of the group."""
        return self.total(np.asarray(values, dtype=np.bool_)) > 0

    def all(self, values: ArrayLike) -> Bools:
        """Return whether it holds for every row of the group."""
        return ~self.any(~np.asarray(values, dtype=np.bool_))

    def _counts(self, where: Bools | None) -> Ints:
        rows = self.index if where is None else self.index[where]
        return np.bincount(rows, minlength=self.count)

    def _totals(self, x: Floats, where: Bools | None) -> Floats:
        rows = slice(None) if where is None else where
        sums = np.bincount(self.index[rows], weights=x[rows], minlength=self.count)
        return sums.astype(np.float64, copy=False)


def _column(name: str, values: ArrayLike, rows: tuple[int, ...]) -> NDArray[Any]:
    column = np.asarray(values)
    if column.shape != rows:
        raise BadInput(f"Rollouts: {name} must have one value a rollout: shape {rows}, got {column.shape}.")
    if column.dtype.kind not in "biuf":
        raise BadInput(f"Rollouts: {name} must hold numbers, got {column.dtype}.")
    if not np.isfinite(column).all():
        raise BadInput(f"Rollouts: {name} must be finite everywhere. Leave out rows about which nothing is known.")
    return column


def _labels(name: str, values: ArrayLike, rows: tuple[int, ...]) -> NDArray[Any]:
    labels = np.asarray(values)
    if labels.shape != rows or labels.dtype.kind not in "iuUO":
        raise BadInput(
            f"Rollouts: {name} must have one whole number or text a rollout: shape {rows}, "
            f"got {labels.dtype} {labels.shape}."
        )
    return labels.astype(np.str_) if labels.dtype.kind == "O" else labels


def _sealed(values: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written through: what a method is given stays as it is."""
    view = values.view()
    view.flags.writeable = False
    return view


def _first(count: Ints, width: int) -> Bools:
    """Return the first tokens of each row, at least one, [B, T]."""
    return np.arange(width) < np.clip(count, 1, width)[:, None]
