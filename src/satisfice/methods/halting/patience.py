"""Stop after so many observations without a new best: the plain baseline."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.halter import Decision, Observation, State


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Stop after so many observations without a new best.

    The best counts as new when it is better than the old one by more than `least`. Frameworks call this early
    stopping; it predicts nothing, so every other halter is compared with it.
    """

    card: ClassVar = Card(
        id="patience", paper="", where="early stopping as in Keras and transformers", needs=frozenset(),
        fidelity="standard",
    )  # fmt: skip

    patience: Annotated[int, Range(1)] = 3  # observations without a new best
    least: Annotated[float, Range(0)] = 0.0  # gain below which a best is not new, in units of the metric
    watch: str = "accuracy"  # metric of which more is better; `-loss` turns one around

    def __post_init__(self) -> None:
        check_fields(self)

    def init(self) -> State:
        return {"best": None, "since": 0}

    def __call__(self, state: State, observation: Observation, /) -> tuple[State, Decision]:
        value, best = observation.value(self.watch), state["best"]
        better = best is None or value > best + self.least
        state = {"best": value if better else best, "since": 0 if better else state["since"] + 1}
        stop = state["since"] >= self.patience
        why = f"{self.watch} has not risen above {state['best']:g} for {state['since']} evaluations" if stop else ""
        return state, Decision(stop=stop, why=why, metrics={"best": state["best"], "since": float(state["since"])})
