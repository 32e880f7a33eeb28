"""What every shaper has in common, and whether the battery notices when it is missing."""

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import satisfice.methods.shaping
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Shaped, State
from satisfice.methods.shaping import FAMILY
from satisfice.methods.shaping.grpo import Grpo
from satisfice.testing import Faulty, check_method


@pytest.mark.parametrize("name", FAMILY.methods)
def test_battery(name: str) -> None:
    check_method(FAMILY.methods[name])


def test_a_method_a_file_named_alike() -> None:
    folder = Path(str(satisfice.methods.shaping.__file__)).parent
    files = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    assert list(FAMILY.methods) == sorted(FAMILY.methods)
    assert files == sorted(name.replace("-", "_") for name in FAMILY.methods)
    assert all(method.card.id == name for name, method in FAMILY.methods.items())


@dataclass(frozen=True, kw_only=True)
class Own(Grpo):
    """A method with one mistake, put in by the test, for the battery to find."""

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        return Shaped(advantage=MISTAKE["advantage"](rollouts), reward=rollouts.reward)


@dataclass(frozen=True, kw_only=True)
class Remembers(Grpo):
    """One that remembers wrongly."""

    def init(self) -> State:
        return {"n": 0}

    def update(self, state: State, rollouts: Rollouts) -> State:
        return MISTAKE["update"](state, rollouts)


MISTAKE: dict[str, Any] = {}
calls = itertools.count()


@pytest.mark.parametrize(
    ("advantage", "message"),
    [
        (lambda rollouts: np.arange(len(rollouts)) * 1.0, "order of rows"),
        (lambda rollouts: -rollouts.length / 1e4, "says pressure False on wrong"),
        (lambda rollouts: np.where(rollouts.accuracy == 1, -rollouts.length, 0.0), "pressure False on groups that"),
        (lambda rollouts: np.full(len(rollouts), next(calls) * 1.0), "deterministic"),
        (lambda rollouts: np.zeros((len(rollouts), 3)), "odd shape"),
    ],
)
def test_the_battery_finds_a_wrong_advantage(advantage: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MISTAKE, "advantage", advantage)
    with pytest.raises(Faulty, match=message):
        check_method(Own)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda state, rollouts: {"n": (1, 2)}, "JSON"),
        (lambda state, rollouts: state.update(n=1) or {}, "in place"),
        (lambda state, rollouts: {"n": int(rollouts.length[0])}, "order of rows"),
    ],
)
def test_the_battery_finds_a_wrong_state(update: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MISTAKE, "update", update)
    with pytest.raises(Faulty, match=message):
        check_method(Remembers)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("card", {"where": " "}, "where"),
        ("card", {"ours": ("nothing",)}, "nothing"),
        ("card", {"paper": ""}, "names no paper"),
        ("pressure", {"all_right": True}, "says pressure True on groups that are all right"),
    ],
)
def test_the_battery_finds_a_false_claim(
    part: str, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MISTAKE, "advantage", lambda rollouts: np.zeros(len(rollouts)))
    monkeypatch.setattr(Own, part, dataclasses.replace(getattr(Grpo, part), **changes))
    with pytest.raises(Faulty, match=message):
        check_method(Own)
