"""Batches of rollouts for tests."""

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.card import Requirement
from satisfice.core.rollouts import PROMPT, Column, Rollouts, Some

TOKENS = 6  # width of per-token columns


def rollouts(
    correct: ArrayLike,
    length: ArrayLike | None = None,
    group: ArrayLike | None = None,
    *,
    truncated: ArrayLike | None = None,
    reward: ArrayLike | None = None,
    prompt: ArrayLike | None = None,
    **columns: ArrayLike,
) -> Rollouts:
    """Return a batch from plain lists: one group of rollouts of 100 tokens, unless told otherwise.

    Further columns by name: `budget=[...]` with one number per rollout, `entropy=[[...], ...]` with one per token.

    >>> len(rollouts(correct=[1, 0], length=[10, 20], budget=[15, 15]))
    2
    """
    verdicts = np.asarray(correct)
    more = {name: np.asarray(values) for name, values in columns.items()}
    given = {"truncated": truncated, "reward": reward, "prompt": prompt}
    return Rollouts(
        group=np.zeros(len(verdicts), int) if group is None else np.asarray(group),
        correct=verdicts,
        length=np.full(len(verdicts), 100) if length is None else np.asarray(length),
        columns={name: values for name, values in more.items() if values.ndim < 2},
        tokens={name: values for name, values in more.items() if values.ndim >= 2},
        **{name: np.asarray(values) for name, values in given.items() if values is not None},
    )


def random_rollouts(
    seed: int, *, groups: int = 4, size: int = 5, longest: int = 9_000, columns: Collection[Requirement] = ()
) -> Rollouts:
    """A mixed batch whose groups are interleaved, with the named columns in it; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    n = groups * size
    correct = rng.random(n) < np.repeat(rng.random(groups), size)
    truncated = ~correct & (rng.random(n) < 0.3)
    length = np.where(truncated, longest, rng.integers(1, longest + 1, n))
    batch = with_columns(
        rollouts(correct, length, np.repeat(np.arange(groups), size), truncated=truncated), rng, columns
    )
    return batch.take(rng.permutation(n))


def edge_rollouts(columns: Collection[Requirement]) -> Iterator[tuple[str, Rollouts]]:
    """The edges at which formulas break, and some ordinary batches."""
    lengths = [1000, 2000, 4000, 3000]
    edges = {
        "all right": rollouts([1, 1, 1, 1], lengths),
        "all wrong": rollouts([0, 0, 0, 0], lengths),
        "one right": rollouts([0, 1, 0, 0], lengths),
        "one rollout": rollouts([1], [1000]),
        "one wrong rollout": rollouts([0], [1000]),
        "groups of one": rollouts([1, 0, 1], [1000, 10, 5000], group=["a", "b", "c"]),
        "all truncated": rollouts([0, 0, 0], [8192] * 3, truncated=[1, 1, 1]),
        "all truncated though right": rollouts([1, 1, 0], [8192] * 3, truncated=[1, 1, 1]),
        "equal lengths": rollouts([1, 1, 0, 1], [700] * 4),
        "nothing sampled": rollouts([0, 1, 0], [0, 1, 0]),
        "very long": rollouts([1, 1, 0, 1], [10, 10**9, 10**9, 10**6]),
        "two groups, one right": rollouts([1, 1, 0, 0], [5, 50_000, 50_000, 5], group=[7, 7, 3, 3]),
    }
    for number, (name, batch) in enumerate(edges.items()):
        yield name, with_columns(batch, np.random.default_rng(number), columns)
    for seed in range(4):
        yield f"random {seed}", random_rollouts(seed, columns=columns, longest=10 ** (seed + 2))


def with_columns(batch: Rollouts, rng: np.random.Generator, columns: Collection[Requirement]) -> Rollouts:
    """Return the batch with plausible values in some columns; what belongs to a prompt is the same in its group."""
    group = rng.random(batch.groups.count)[batch.groups.index]
    made: dict[str, dict[str, NDArray[Any]]] = {"rollout": {}, "token": {}}
    for column in sorted((one for one in columns if isinstance(one, Column)), key=lambda one: one.name):
        some = Some(
            correct=batch.correct, length=batch.length, truncated=batch.truncated, group=group,
            share=rng.random(len(batch)), token_share=rng.random((len(batch), TOKENS)),
        )  # fmt: skip
        made[column.per][column.name] = column.made(some)
    prompt = batch.group.astype(np.str_) if PROMPT in columns else None
    return dataclasses.replace(batch, prompt=prompt, columns=made["rollout"], tokens=made["token"])
