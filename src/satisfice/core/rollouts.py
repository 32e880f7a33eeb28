"""A batch of rollouts as columns, and statistics over the groups in it.

Legend: B rollouts in the batch, T tokens of the longest of them. A group is the rollouts of one prompt; its rows may
stand anywhere in the batch. Lengths are in tokens, probabilities in nats.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.errors import BadInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

COLUMNS: Mapping[str, str] = {
    "answer_found": "an answer can be read from the output",
    "budget": "tokens that the prompt asked for",
    "continuations_right": "right ones among the continuations that were sampled from the rollout's first part",
    "decision_token": "number of the token that settles whether the rollout thinks, counted from 0; -1: none",
    "exit": "place of the rollout among the exits from one chain of thought: 0 the earliest, the whole chain last",
    "finished": "the rollout came to its end; an unfinished one goes on in the next step",
    "first_new": "number of the first token that was sampled in this step, counted from 0",
    "insignificant": "tokens of the rollout that a compressor would drop",
    "level": "how verbose the prompt asked to be: 0 short, 1 moderate, 2 long",
    "longest": "upper end of the length that is wanted, words",
    "mode": "how the rollout was to think: 0 direct or short, 1 at length",
    "needs_thinking": "the prompt is labelled as one that needs thinking",
    "pass_rate": "share of right rollouts of the base model on this prompt, estimated before training",
    "reference_accuracy": "mean accuracy of the reference policy on this prompt",
    "reference_insignificant": "tokens of a reference response to the prompt that a compressor would drop",
    "reference_length": "mean length of the reference policy's responses to this prompt, tokens",
    "reference_significant": "tokens of a reference response to the prompt that a compressor would keep",
    "repetitive": "the rollout goes in circles",
    "score": "what a reward model or judge says of the rollout",
    "shortest": "lower end of the length that is wanted, words",
    "significant": "tokens of the rollout that a compressor would keep",
    "step_count": "steps of the rollout's thinking: paragraphs that are not empty",
    "thinking_closed": "the thinking was opened and closed as it should be",
    "turns": "turns in which the rollout called a tool",
    "well_formed": "the whole output has the form that was asked for",
    "words": "words of the answer",
}
"""Columns [B] that methods read beside the standard ones. A method of your own may read others."""

TOKEN_COLUMNS: Mapping[str, str] = {
    "entropy": "entropy of the next-token distribution, nats",
    "grounded": "the environment accepted the action that ends at this token; 0 elsewhere",
    "ids": "token ids",
    "logprob": "log-probability of the token under the policy that is trained, before this update, nats",
    "mask": "the loss counts this token: the policy sampled it, for this rollout",
    "progress": "share of the outcome that an estimator credits to the action that ends at this token; 0 elsewhere",
    "segment": "which part (turn, step) of a rollout the token belongs to, counted from 0",
    "token_reward": "reward given at this token",
    "value": "what a value head expects from here on",
}
"""Columns [B, T] that methods read."""


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
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # name -> [B]; see COLUMNS
    tokens: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # name -> [B, T]; see TOKEN_COLUMNS

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
        """A column by its name, [B] or [B, T].

        Raises:
            BadInput: the batch does not have it.
        """
        found = self.columns.get(name, self.tokens.get(name))
        if found is None:
            where = "tokens" if name in TOKEN_COLUMNS else "columns"
            means = COLUMNS.get(name, TOKEN_COLUMNS.get(name, ""))
            raise BadInput(
                f"Rollouts: there is no {name!r}{f' ({means})' if means else ''}. Give it when the batch is made: "
                f"Rollouts(..., {where}={{{name!r}: ...}})."
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
        """The lasting name of each row's prompt.

        Raises:
            BadInput: the batch was made without them.
        """
        if self.prompt is None:
            raise BadInput(
                "Rollouts: this method remembers prompts, and the batch does not name them. "
                "Give prompt=, a lasting name a row."
            )
        return [str(name) for name in self.prompt]

    def rewarded(self, reward: ArrayLike) -> "Rollouts":
        """The same rollouts with another reward."""
        return dataclasses.replace(self, reward=np.asarray(reward, dtype=np.float64))

    def take(self, rows: ArrayLike) -> "Rollouts":
        """Some of the rows, by mask [B] or by number."""
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
        """What every run logs about a batch, before any shaping; a mean over no rows is left out."""
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
        """Whether it holds for some row of the group."""
        return self.total(np.asarray(values, dtype=np.bool_)) > 0

    def all(self, values: ArrayLike) -> Bools:
        """Whether it holds for every row of the group."""
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
    """A view that cannot be written through: what a method is given stays as it is."""
    view = values.view()
    view.flags.writeable = False
    return view
