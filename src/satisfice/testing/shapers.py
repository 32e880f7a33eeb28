"""What every shaper must be able to do, checked on small batches of rollouts."""

import copy
import dataclasses
import json
from typing import Any

import numpy as np

from satisfice.core.fit import asks
from satisfice.core.loss_term import OF_TRAINERS
from satisfice.core.rollouts import Bools, Rollouts
from satisfice.core.shaper import Capping, Cutting, Loss, Monitoring, Pressure, Shaped, Shaper, State, columns_of, start
from satisfice.core.shaper import advance as next_state
from satisfice.testing.method import claim
from satisfice.testing.rollouts import edge_rollouts, rollouts, with_columns

_PARTS = ("advantage", "reward", "keep", "weight", "entropy_weight")


def check_shaper(shaper: Shaper) -> None:
    """Check what a shaper does.

    Raises:
        Faulty: a `pressure` that is not true, results that are not finite, of the wrong shape, different the second
            time or for rows in another order, a state that is no JSON object, is changed in place or depends on the
            order of rows.
    """
    claim(isinstance(shaper.pressure, Pressure), shaper, "needs `pressure`, a Pressure")
    claim(isinstance(shaper.loss, Loss), shaper, "needs a property `loss`, a Loss")
    for name, batch in edge_rollouts(asks(shaper, "data")):
        state = start(shaper)
        for step in range(3):
            _check_step(shaper, batch, state, f"{name}, step {step}")
            state = _check_state(shaper, batch, state, name)
    _check_pressure(shaper)


def _check_step(shaper: Shaper, batch: Rollouts, state: State, where: str) -> None:
    shaped = shaper(batch, state)
    n = len(batch)
    for name, values in _parts(shaped).items():
        shapes = {(n,), *(values.shape for values in batch.tokens.values())}
        claim(values is None or values.shape in shapes, shaper, f"gives an odd shape of {name} ({where})")
    claim(shaped.reward.shape == shaped.keep.shape == (n,), shaper, f"gives odd shapes ({where})")
    claim(shaped.weight is None or bool((shaped.weight >= 0).all()), shaper, f"gives a negative weight ({where})")
    claim(_same(shaped, shaper(batch, state)), shaper, f"is not deterministic ({where})")
    order = np.random.default_rng(n).permutation(n)
    claim(_same(shaped, shaper(batch.take(order), state), order), shaper, f"depends on the order of rows ({where})")
    json.dumps(dict(shaped.metrics))
    weighed = shaper.loss.entropy_weights or shaped.entropy_weight is None
    claim(weighed, shaper, f"weighs the entropy bonus, and its loss does not say so: `entropy_weights` ({where})")
    gap = shaper.loss.reads - OF_TRAINERS - shaped.columns.keys()
    claim(not gap, shaper, f"has a loss that reads {', '.join(sorted(gap))}, which `Shaped.columns` lacks ({where})")
    if isinstance(shaper, Capping):
        prompts = [str(name) for name in batch.group]
        caps = shaper.cap(state, prompts)
        claim(len(caps) == n and bool((caps >= 1).all()), shaper, f"caps at less than one token ({where})")
    if isinstance(shaper, Cutting):
        cut = shaper.cut(batch, state)
        claim(cut.shape == (n,) and bool((cut <= batch.length).all()), shaper, f"cuts to more than there is ({where})")


def _check_state(shaper: Shaper, batch: Rollouts, state: State, where: str) -> State:
    before = copy.deepcopy(dict(state))
    after = next_state(shaper, state, batch)
    turned = next_state(shaper, state, batch.take(np.arange(len(batch))[::-1]))
    if isinstance(shaper, Monitoring) and shaper.monitor_due(after):
        after, turned = (shaper.monitor(s, batch) for s in (after, turned))
    claim(dict(state) == before, shaper, f"changes its state in place ({where})")
    claim(json.loads(json.dumps(dict(after))) == dict(after), shaper, f"has a state that JSON changes ({where})")
    claim(_near(after, turned), shaper, f"has a state that depends on the order of rows ({where})")
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
            batch = with_columns(rollouts(verdicts, length), rng, asks(shaper, "data"))
            level = {name: np.full_like(v, np.ravel(v)[0]) for name, v in batch.tokens.items()}
            even = {name: np.full_like(values, values[0]) for name, values in batch.columns.items()}
            ties = dataclasses.replace(batch, tokens=level, columns=even | _by_length(shaper, batch))
            first = start(shaper)
            later = next_state(shaper, first, ties)  # a method that remembers may press from the second visit on only
            felt.append(any(_spread(shaper(ties, state), rows) > 1e-6 for state in (first, later)))
        short = felt[:3] if not claimed else felt  # beyond a cap, length always tells
        must = claimed and not (what.endswith("right one") or isinstance(shaper, Cutting))
        # a reward may be 0 for all wrong ones; what cuts presses by cutting, which happened before
        claim(any(short) if must else claimed or not any(short), shaper, f"says pressure {claimed} on {what}")


def _by_length(shaper: Shaper, batch: Rollouts) -> dict[str, Any]:
    """Return columns that count something in the rollout, in proportion to its length."""
    growing = [column.name for column in columns_of(shaper) if column.grows and column.name in batch.columns]
    return {name: np.ceil(batch.length * 0.5) for name in growing}


def _spread(shaped: Shaped, rows: Bools) -> float:
    advantage = shaped.advantage if shaped.weight is None else (shaped.advantage.T * shaped.weight.T).T
    return float(np.ptp((advantage.T * shaped.keep).T[rows], axis=0).max())


def _parts(shaped: Shaped) -> dict[str, Any]:
    return {**{name: getattr(shaped, name) for name in _PARTS}, **shaped.columns}


def _same(one: Shaped, other: Shaped, order: Any = slice(None)) -> bool:
    mine, others = _parts(one), _parts(other)
    if mine.keys() != others.keys():
        return False
    pairs = [(mine[name], others[name]) for name in mine]
    if any((a is None) != (b is None) for a, b in pairs):
        return False
    return all(np.allclose(a[order], b, atol=1e-8) for a, b in pairs if a is not None)


def _near(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_near(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_near(a, b) for a, b in zip(one, other, strict=True))
    return one == other if isinstance(one, str | bool | None) else bool(np.isclose(one, other))
