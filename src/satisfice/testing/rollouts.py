"""Batches of rollouts for tests, and the battery that every shaper passes."""

import copy
import dataclasses
import json
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from satisfice import catalog
from satisfice.core.card import Card
from satisfice.core.fields import field_types
from satisfice.core.rollouts import TOKEN_COLUMNS, Bools, Rollouts
from satisfice.core.shaper import Capping, Cutting, Loss, Monitoring, Pressure, Shaped, Shaper, State, reads, start
from satisfice.core.shaper import advance as next_state
from satisfice.testing.battery import Faulty

_PARTS = ("advantage", "reward", "keep", "weight", "entropy_weight", "value_target", "value_weight", "wanted_mode")
_TOKENS = 6  # width of per-token columns in the battery


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
    batch = _with_columns(
        rollouts(correct, length, np.repeat(np.arange(groups), size), truncated=truncated), rng, names
    )
    return batch.take(rng.permutation(n))


def check_shaper(method: type[Shaper] | Shaper) -> None:
    """Check a shaper: give its class (checked with its defaults) or an object of your own settings.

    Raises:
        Faulty: not a frozen dataclass, not the same after pickling, a card or a `pressure` that is not true, results
            that are not finite, of the wrong shape, different the second time or for rows in another order, a state
            that is no JSON object, is changed in place or depends on the order of rows.
    """
    shaper = method() if isinstance(method, type) else method
    _check_form(shaper)
    for name, batch in _batches(reads(shaper)):
        state = start(shaper)
        for step in range(3):
            _check_step(shaper, batch, state, f"{name}, step {step}")
            state = _check_state(shaper, batch, state, name)
    _check_pressure(shaper)


def _batches(names: frozenset[str]) -> Iterator[tuple[str, Rollouts]]:
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
        yield name, _with_columns(batch, np.random.default_rng(number), names)
    for seed in range(4):
        yield f"random {seed}", random_rollouts(seed, names=names, longest=10 ** (seed + 2))


def _with_columns(batch: Rollouts, rng: np.random.Generator, names: frozenset[str]) -> Rollouts:
    """The batch with plausible values in the named columns; what belongs to a prompt is the same in its group."""
    n, shape = len(batch), (len(batch), _TOKENS)
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
        "mask": np.arange(_TOKENS) < np.minimum(np.maximum(batch.length, 1), _TOKENS)[:, None],
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


def _check_form(shaper: Shaper) -> None:
    kind = type(shaper)
    if not dataclasses.is_dataclass(shaper) or not kind.__dataclass_params__.frozen:
        raise Faulty(f"{kind.__name__}: must be a frozen dataclass")
    card = getattr(shaper, "card", None)
    if not isinstance(card, Card):
        raise Faulty(f"{kind.__name__}: needs a class attribute `card`, a Card")
    _claim(isinstance(getattr(shaper, "pressure", None), Pressure), shaper, "needs a class attribute `pressure`")
    _claim(isinstance(shaper.loss, Loss), shaper, "needs a property `loss`, a Loss")
    _claim(pickle.loads(pickle.dumps(shaper)) == shaper, shaper, "is another after pickling")
    _claim(isinstance(hash(shaper), int), shaper, "cannot be hashed")
    _claim(bool(card.where.strip()), shaper, "does not say where in its source it is described (`where`)")
    _claim(card.fidelity == "standard" or bool(card.paper), shaper, f"claims {card.fidelity!r} and names no paper")
    _claim(bool((kind.__doc__ or "").strip()), shaper, "has no docstring; its first line is its row in the docs")
    unknown = sorted(set(card.ours) - set(field_types(kind)))
    _claim(not unknown, shaper, f"names fields in `ours` that it does not have: {', '.join(unknown)}")
    if catalog.METHODS.get(card.id) is kind:  # a stranger's own has no name that the catalogue could make it from
        spec = catalog.canonical(shaper)
        _claim(catalog.build(spec, kind="shaper") == shaper, shaper, f"is another after a round trip by {spec!r}")
        row = json.loads(json.dumps(catalog.as_json(shaper)))
        _claim(catalog.from_json(row, kind="shaper") == shaper, shaper, "is another after a round trip through JSON")


def _check_step(shaper: Shaper, batch: Rollouts, state: State, where: str) -> None:
    shaped = shaper(batch, state)
    n = len(batch)
    for name in ("advantage", "weight", "entropy_weight", "value_target", "value_weight"):
        values = getattr(shaped, name)
        shapes = {(n,), *(values.shape for values in batch.tokens.values())}
        _claim(values is None or values.shape in shapes, shaper, f"gives an odd shape of {name} ({where})")
    _claim(shaped.reward.shape == shaped.keep.shape == (n,), shaper, f"gives odd shapes ({where})")
    _claim(shaped.weight is None or bool((shaped.weight >= 0).all()), shaper, f"gives a negative weight ({where})")
    _claim(_same(shaped, shaper(batch, state)), shaper, f"is not deterministic ({where})")
    order = np.random.default_rng(n).permutation(n)
    _claim(_same(shaped, shaper(batch.take(order), state), order), shaper, f"depends on the order of rows ({where})")
    json.dumps(dict(shaped.metrics))
    if isinstance(shaper, Capping):
        prompts = [str(name) for name in batch.group]
        caps = shaper.cap(state, prompts)
        _claim(len(caps) == n and bool((caps >= 1).all()), shaper, f"caps at less than one token ({where})")
    if isinstance(shaper, Cutting):
        cut = shaper.cut(batch, state)
        _claim(cut.shape == (n,) and bool((cut <= batch.length).all()), shaper, f"cuts to more than there is ({where})")


def _check_state(shaper: Shaper, batch: Rollouts, state: State, where: str) -> State:
    before = copy.deepcopy(dict(state))
    after = next_state(shaper, state, batch)
    turned = next_state(shaper, state, batch.take(np.arange(len(batch))[::-1]))
    if isinstance(shaper, Monitoring) and shaper.monitor_due(after):
        after, turned = (shaper.monitor(s, batch) for s in (after, turned))
    _claim(dict(state) == before, shaper, f"changes its state in place ({where})")
    _claim(json.loads(json.dumps(dict(after))) == dict(after), shaper, f"has a state that JSON changes ({where})")
    _claim(_near(after, turned), shaper, f"has a state that depends on the order of rows ({where})")
    return after


def _check_pressure(shaper: Shaper) -> None:
    """Whether the rollouts in question are treated differently when only their lengths differ."""
    spans = [np.linspace(1, 3, 4) * scale for scale in (3, 10, 100, 1_000, 3_000, 10_000)]
    for what, verdicts, claimed in (
        ("wrong rollouts", [0, 0, 0, 0, 1, 1], shaper.pressure.wrong),
        ("wrong rollouts of a group without a right one", [0, 0, 0, 0], shaper.pressure.wrong),
        ("groups that are all right", [1, 1, 1, 1], shaper.pressure.all_right),
    ):
        rows: Bools = np.arange(len(verdicts)) < 4
        felt = []
        for span in spans:
            length = np.resize(np.round(span), len(verdicts))
            rng = np.random.default_rng(0)
            batch = _with_columns(rollouts(verdicts, length), rng, reads(shaper))
            level = {name: np.full_like(v, np.ravel(v)[0]) for name, v in batch.tokens.items()}
            even = {name: np.full_like(values, values[0]) for name, values in batch.columns.items()}
            ties = dataclasses.replace(batch, tokens=level, columns=even | _by_length(batch))
            first = start(shaper)
            later = next_state(shaper, first, ties)  # a method that remembers may press from the second visit on only
            felt.append(any(_spread(shaper(ties, state), rows) > 1e-6 for state in (first, later)))
        short = felt[:3] if not claimed else felt  # beyond a cap, length always tells
        must = claimed and not (what.endswith("right one") or isinstance(shaper, Cutting))
        # a reward may be 0 for all wrong ones; what cuts presses by cutting, which happened before
        _claim(any(short) if must else claimed or not any(short), shaper, f"says pressure {claimed} on {what}")


def _by_length(batch: Rollouts) -> dict[str, Any]:
    """Columns that count something in the rollout, in proportion to its length."""
    parts = {"significant": 0.5, "insignificant": 0.5, "words": 0.7, "step_count": 0.1}
    return {name: np.ceil(batch.length * part) for name, part in parts.items() if name in batch.columns}


def _spread(shaped: Shaped, rows: Bools) -> float:
    advantage = shaped.advantage if shaped.weight is None else (shaped.advantage.T * shaped.weight.T).T
    return float(np.ptp((advantage.T * shaped.keep).T[rows], axis=0).max())


def _same(one: Shaped, other: Shaped, order: Any = slice(None)) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in _PARTS]
    if any((a is None) != (b is None) for a, b in pairs):
        return False
    return all(np.allclose(a[order], b, atol=1e-8) for a, b in pairs if a is not None)


def _near(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_near(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_near(a, b) for a, b in zip(one, other, strict=True))
    return one == other if isinstance(one, str | bool | None) else bool(np.isclose(one, other))


def _claim(holds: bool, shaper: Shaper, fault: str) -> None:
    if not holds:
        raise Faulty(f"{shaper.card.id}: {fault}")
