"""Batches of rollouts for tests."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.rollouts import TOKEN_COLUMNS, Rollouts
from satisfice.testing.method import Faulty

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
    """A batch from plain lists: one group of rollouts of 100 tokens, unless told otherwise.

    Further columns by name: `budget=[...]` with one number a rollout, `entropy=[[...], ...]` with one a token.

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
    seed: int, *, groups: int = 4, size: int = 5, longest: int = 9_000, names: frozenset[str] = frozenset()
) -> Rollouts:
    """A mixed batch whose groups are interleaved, with the named columns in it; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    n = groups * size
    correct = rng.random(n) < np.repeat(rng.random(groups), size)
    truncated = ~correct & (rng.random(n) < 0.3)
    length = np.where(truncated, longest, rng.integers(1, longest + 1, n))
    batch = with_columns(rollouts(correct, length, np.repeat(np.arange(groups), size), truncated=truncated), rng, names)
    return batch.take(rng.permutation(n))


def edge_rollouts(names: frozenset[str]) -> Iterator[tuple[str, Rollouts]]:
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
        yield name, with_columns(batch, np.random.default_rng(number), names)
    for seed in range(4):
        yield f"random {seed}", random_rollouts(seed, names=names, longest=10 ** (seed + 2))


def with_columns(batch: Rollouts, rng: np.random.Generator, names: frozenset[str]) -> Rollouts:
    """The batch with plausible values in the named columns; what belongs to a prompt is the same in its group."""
    n, shape = len(batch), (len(batch), TOKENS)
    per_group = rng.random(batch.groups.count)[batch.groups.index]
    budget = np.round(10 + 8000 * per_group)
    some = rng.random((4, n))
    columns = {
        "budget": budget,
        "longest": budget,
        "shortest": np.round(budget / 2),
        "level": np.floor(3 * per_group),
        "needs_thinking": per_group > 0.5,
        "pass_rate": np.round(16 * per_group) / 16,
        "reference_accuracy": per_group,
        "reference_length": budget,
        "reference_significant": np.round(budget / 2),
        "reference_insignificant": np.round(budget / 3),
        "significant": np.round(batch.length * some[0]),
        "insignificant": np.round(batch.length * (1 - some[0])),
        "words": np.round(batch.length * some[1]),
        "score": 0.1 + 0.9 * some[1],
        "step_count": 1 + batch.length // 100,
        "mode": (some[2] > 0.5).astype(int),
        "answer_found": batch.correct | (some[2] > 0.5),
        "thinking_closed": ~batch.truncated,
        "well_formed": ~batch.truncated & (batch.correct | (some[3] > 0.3)),
        "continuations_right": np.floor(9 * some[0]),
        "decision_token": np.where(batch.length > 0, 0, -1),
        "exit": np.floor(5 * some[1]),
        "finished": some[2] > 0.3,
        "first_new": np.floor(3 * some[3]),
        "turns": np.floor(12 * some[1]),
        "repetitive": ~batch.correct & (some[3] > 0.7),
    }
    tokens = {
        "mask": np.arange(TOKENS) < np.minimum(np.maximum(batch.length, 1), TOKENS)[:, None],
        "logprob": -rng.exponential(0.5, shape),
        "entropy": rng.exponential(0.5, shape),
        "value": rng.random(shape),
        "ids": rng.integers(0, 5, shape),
        "progress": rng.random(shape),
        "grounded": rng.random(shape) > 0.5,
        "segment": np.sort(rng.integers(0, 3, shape), axis=1),
        "token_reward": rng.normal(size=shape),
    }
    unknown = sorted(names - set(columns) - set(tokens) - {"prompt"})
    if unknown:
        raise Faulty(
            f"the battery does not know how to make the columns {', '.join(unknown)}; see core.rollouts.COLUMNS"
        )
    return dataclasses.replace(
        batch,
        prompt=batch.group.astype(np.str_) if "prompt" in names else None,
        columns={name: columns[name] for name in sorted(names & set(columns))},
        tokens={name: tokens[name] for name in sorted(names & set(TOKEN_COLUMNS))},
    )
