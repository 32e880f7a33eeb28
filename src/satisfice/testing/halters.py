"""What every halter must be able to do, checked on some curves."""

import copy
import json
from collections.abc import Iterator

import numpy as np

from satisfice.core.halter import Decision, Halter, Observation, State, next_run
from satisfice.testing.method import claim

STEPS = 24


class _Any(dict[str, float]):
    """Metrics of any name, all of one value: a halter may watch what it likes."""

    def __missing__(self, name: str) -> float:
        return self["value"]

    def __contains__(self, name: object) -> bool:
        return True


def curves() -> Iterator[tuple[str, list[float]]]:
    """Yield curves that a halter may meet: rising, flat, falling, noisy, collapsing, a single point."""
    steps = np.arange(1, STEPS + 1)
    rise = 0.8 - 0.5 * steps**-0.8
    noise = np.random.default_rng(0).standard_normal(STEPS)
    yield "rising", rise.tolist()
    yield "flat", [0.5] * STEPS
    yield "all wrong", [0.0] * STEPS
    yield "all right", [1.0] * STEPS
    yield "falling", rise[::-1].tolist()
    yield "noisy", np.clip(rise + 0.05 * noise, 0, 1).tolist()
    yield "collapsing", np.where(steps > 16, 0.05, rise).tolist()
    yield "one point", [0.4]


def check_halter(halter: Halter) -> None:
    """Check what a halter does.

    Raises:
        Faulty: a state that is no JSON object or is changed in place, decisions that differ the second time or after
            the state was stored and read again, a stop without a reason, metrics that are not finite.
    """
    state = halter.init()
    for name, values in curves():
        for step, value in enumerate(values, 1):
            seen = Observation(at=float(step), metrics=_Any(value=value), cost=1.0)
            state = _check(halter, state, seen, f"{name}, observation {step}")
        state = next_run(halter, state)
        claim(_kept(state), halter, f"has a state that JSON changes, once a run has ended ({name})")


def _check(halter: Halter, state: State, seen: Observation, where: str) -> State:
    before = copy.deepcopy(dict(state))
    after, decision = halter(state, seen)
    claim(isinstance(decision, Decision), halter, f"gives no Decision ({where})")
    claim(dict(state) == before, halter, f"changes its state in place ({where})")
    claim(_kept(after), halter, f"has a state that JSON changes ({where})")
    claim(
        all(np.isfinite(v) for v in decision.metrics.values()), halter, f"gives a metric that is not finite ({where})"
    )
    claim(not decision.stop or bool(decision.why), halter, f"stops and does not say why ({where})")
    again, same = halter(json.loads(json.dumps(dict(before))), seen)
    claim((dict(again), same) == (dict(after), decision), halter, f"is not deterministic ({where})")
    return after


def _kept(state: State) -> bool:
    return bool(json.loads(json.dumps(dict(state), allow_nan=False)) == dict(state))
