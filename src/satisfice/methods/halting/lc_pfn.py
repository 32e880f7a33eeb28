"""Extrapolate a learning curve with its uncertainty, and stop when its end is unlikely to be a new best."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.halter import GO_ON, Decision, Observation, State
from satisfice.methods.halting._curve import EMPTY, extended, points
from satisfice.methods.halting.prior import posterior


@dataclass(frozen=True, kw_only=True)
class LcPfn:
    """Extrapolate a learning curve with its uncertainty, and stop when its end is unlikely to be a new best.

    A prior over curves (mixes of power law, inverse logarithm and Janoschek's curve, with noise) becomes a posterior by
    what was observed:

        stop if P(y(horizon) > best) < doubt

    `best` is the greatest value seen, in this run or in earlier ones of the same search. Differs from the paper: the
    posterior is computed itself, exactly over 2,000 fixed shapes, where the paper trains a network to imitate it; the
    prior is in the spirit of the paper's, and lets curves fall too.
    """

    card: ClassVar = Card(
        id="lc-pfn", system="lc-pfn", paper="arXiv:2310.20447", where="predictive early stopping", needs=frozenset(),
        fidelity="reconstructed", ours=("horizon", "first", "watch"),
    )  # fmt: skip

    doubt: Annotated[float, Range(0, 1)] = 0.05  # probability of a new best below which the run is stopped
    horizon: Annotated[float, Range(0)] = 100.0  # `at` of the last observation of a run that goes to its end
    first: Annotated[int, Range(1)] = 3  # observations before the first prediction
    watch: str = "accuracy"  # metric from 0 to 1 of which more is better

    def __post_init__(self) -> None:
        check_fields(self)

    def init(self) -> State:
        return {**EMPTY, "best": None}

    def next_run(self, state: State, /) -> State:
        seen = [value for value in (state["best"], *state["value"]) if value is not None]
        return {**EMPTY, "best": max(seen, default=None)}

    def __call__(self, state: State, observation: Observation, /) -> tuple[State, Decision]:
        new = extended(state, observation, self.watch, self.card.id)
        at, value = points(new)
        if len(at) < self.first or at[-1] >= self.horizon:
            return new, GO_ON
        end = posterior(np.maximum(at, 0) / self.horizon, value)
        best = max(float(value.max()), -np.inf if new["best"] is None else new["best"])
        chance = end.above(best)
        stop = chance < self.doubt
        why = f"{self.watch} ends above {best:.4g} with probability {chance:.3f}" if stop else ""
        return new, Decision(stop=stop, why=why, metrics={"chance": chance, "mean": float(end.weight @ end.mean)})
