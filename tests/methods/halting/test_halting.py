"""The family of halters: the battery on each, what a battery must find, and the plain baseline."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import satisfice.methods.halting
from satisfice.core.errors import BadInput
from satisfice.core.halter import Decision, Halter, Observation, State, follow
from satisfice.methods.halting import FAMILY
from satisfice.methods.halting.patience import Patience
from satisfice.testing import Faulty, check_method

SHARED = {"prior"}


def observed(values: list[float], metric: str = "accuracy") -> list[Observation]:
    return [Observation(at=step, metrics={metric: value}) for step, value in enumerate(values, 1)]


@pytest.mark.parametrize("name", FAMILY.methods)
def test_battery(name: str) -> None:
    check_method(FAMILY.methods[name])


def test_a_halter_a_file_named_alike() -> None:
    folder = Path(str(satisfice.methods.halting.__file__)).parent
    files = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    assert list(FAMILY.methods) == sorted(FAMILY.methods)
    assert files == sorted({*(name.replace("-", "_") for name in FAMILY.methods), *SHARED})


@dataclass(frozen=True, kw_only=True)
class Forgets(Patience):
    """One that counts in the state that it was given."""

    def __call__(self, state: State, observation: Observation, /) -> tuple[State, Decision]:
        after, decision = super().__call__(state, observation)
        state.update(after)  # type: ignore[attr-defined]
        return after, decision


@dataclass(frozen=True, kw_only=True)
class Silent(Patience):
    """One that does not say why it stops."""

    def __call__(self, state: State, observation: Observation, /) -> tuple[State, Decision]:
        after, decision = super().__call__(state, observation)
        return after, Decision(stop=decision.stop)


@dataclass(frozen=True, kw_only=True)
class Tuples(Patience):
    """One whose state JSON turns into another."""

    def init(self) -> State:
        return {**super().init(), "seen": ()}

    def __call__(self, state: State, observation: Observation, /) -> tuple[State, Decision]:
        after, decision = super().__call__(state, observation)
        return {**after, "seen": (*state.get("seen", ()), observation.at)}, decision


@pytest.mark.parametrize(
    ("halter", "fault"), [(Forgets, "in place"), (Silent, "does not say why"), (Tuples, "state that JSON changes")]
)
def test_the_battery_finds_what_is_wrong(halter: type[Halter], fault: str) -> None:
    with pytest.raises(Faulty, match=fault):
        check_method(halter)


def test_patience_stops_after_so_many_without_a_new_best() -> None:
    _, seen, decision = follow(Patience(patience=2), observed([0.5, 0.6, 0.6, 0.55, 0.9]))
    assert (len(seen), decision.stop) == (4, True)
    assert decision.why == "accuracy has not risen above 0.6 for 2 evaluations"
    assert not follow(Patience(patience=2), observed([0.5, 0.6, 0.55, 0.7]))[2].stop
    assert len(follow(Patience(patience=1, least=0.2), observed([0.5, 0.6]))[1]) == 2


@given(st.lists(st.floats(0, 1), max_size=30), st.integers(1, 5))
def test_patience_never_stops_within_its_patience_of_a_new_best(values: list[float], patience: int) -> None:
    _, seen, decision = follow(Patience(patience=patience), observed(values))
    shown = [o.metrics["accuracy"] for o in seen]
    if decision.stop:
        assert shown.index(max(shown)) == len(shown) - patience - 1
    else:
        assert len(seen) == len(values)


def test_a_metric_of_which_less_is_better() -> None:
    halter = Patience(patience=1, watch="-loss")
    assert len(follow(halter, observed([2.0, 1.0, 0.5, 0.6, 0.1], "loss"))[1]) == 4


def test_what_cannot_be_watched_is_refused() -> None:
    with pytest.raises(BadInput, match=r"no metric 'accuracy', only loss, net\."):
        Patience()(Patience().init(), Observation(at=1, metrics={"net": 0.0, "loss": 1.0}))
    with pytest.raises(BadInput, match="accuracy is nan"):
        Observation(at=1, metrics={"accuracy": float("nan")})
    with pytest.raises(BadInput, match="cost of at least 0"):
        Observation(at=1, metrics={}, cost=-1)
    with pytest.raises(BadInput, match="patience: patience must be a whole number"):
        Patience(patience=0)
    for name in ("pos-learning-curves", "lc-pfn", "nas-perf-prediction", "early-warning-signals"):
        with pytest.raises(BadInput, match=f"{name}: observations must come in order, got one at 1 after 1"):
            follow(FAMILY.methods[name](), [*observed([0.5]), *observed([0.6])])
