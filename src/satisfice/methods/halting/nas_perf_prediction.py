"""Predict how a run will end from those that have ended, and stop it when it is unlikely to be the best."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.halter import GO_ON, Decision, Observation, State
from satisfice.methods.halting._curve import EMPTY, Floats, extended

FOLDS = 5


def features(values: ArrayLike) -> Floats:
    """Return what the regression sees of curves `[..., n]`: values, first and second differences, `[..., 3n - 3]`.

    >>> features([0.2, 0.5, 0.6]).round(3).tolist()
    [0.2, 0.5, 0.6, 0.3, 0.1, -0.2]
    """
    y = np.asarray(values, dtype=np.float64)
    return np.concatenate([y, np.diff(y, axis=-1), np.diff(y, 2, axis=-1)], axis=-1)


def predict(known: Floats, ends: Floats, new: Floats) -> tuple[float, float]:
    """Return the predicted end of a run and the spread of its error, from runs that have ended.

    `known` is [runs, features], `ends` [runs], `new` [features]. nu-SVR on standardised features; the spread is the
    root mean square of the errors on runs left out.
    """
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import NuSVR

    middle, scale = float(ends.mean()), float(ends.std()) or 1.0
    model = make_pipeline(StandardScaler(), NuSVR(C=10.0, nu=0.5))
    wanted = (ends - middle) / scale
    folds = KFold(min(FOLDS, len(ends)), shuffle=True, random_state=0)
    errors = cross_val_predict(model, known, wanted, cv=folds) - wanted
    value = float(model.fit(known, wanted).predict(new[None])[0])
    return middle + scale * value, scale * float(np.sqrt((errors**2).mean()))


@dataclass(frozen=True, kw_only=True)
class NasPerfPrediction:
    """Predict how a run will end from the runs that have ended, and stop it when it is unlikely to be the best.

    A support vector regression reads the first observations of a run, their first and second differences, and its
    configuration, and predicts the last value. Its error is taken as Gaussian, with the spread that it has on runs
    left out:

        stop if P(y <= best) = Phi((best - y^) / sigma) >= sure

    It judges by others: until `least_runs` runs were watched to their end it stops none, and runs that were stopped
    teach it nothing.
    """

    card: ClassVar = Card(
        id="nas-perf-prediction", system="nas-perf-prediction", paper="arXiv:1705.10823",
        where="performance prediction and early stopping", needs=frozenset(), fidelity="reconstructed",
        ours=("sure", "horizon", "least_runs", "first", "configuration", "watch"),
    )  # fmt: skip

    sure: Annotated[float, Range(0.5, 1)] = 0.95  # probability of not being the best at which a run is stopped
    horizon: Annotated[int, Range(4)] = 20  # observations of a run that goes to its end
    least_runs: Annotated[int, Range(5)] = 10  # runs watched to their end before any is stopped
    first: Annotated[int, Range(3)] = 3  # observations of a run before it may be stopped
    configuration: str = ""  # metrics that describe the run itself, with commas: learning_rate,width
    watch: str = "accuracy"  # metric of which more is better; `-loss` turns one around

    def __post_init__(self) -> None:
        check_fields(self)

    def init(self) -> State:
        return {**EMPTY, "configuration": [], "finished": []}

    def next_run(self, state: State, /) -> State:
        run = {"value": state["value"], "configuration": state["configuration"]}
        whole = len(state["value"]) >= self.horizon
        return {**self.init(), "finished": [*state["finished"], run] if whole else state["finished"]}

    def __call__(self, state: State, observation: Observation, /) -> tuple[State, Decision]:
        new: dict[str, Any] = extended(state, observation, self.watch, self.card.id)
        names = [name.strip() for name in self.configuration.split(",") if name.strip()]
        new["configuration"] = [float(observation.value(name)) for name in names]
        seen, finished = len(new["value"]), new["finished"]
        if len(finished) < self.least_runs or not self.first <= seen < self.horizon:
            return new, GO_ON
        curves = np.array([run["value"][:seen] for run in finished])
        settings = np.array([run["configuration"] for run in finished]).reshape(len(finished), -1)
        ends = np.array([run["value"][self.horizon - 1] for run in finished])
        known = np.concatenate([features(curves), settings], axis=1)
        now = np.concatenate([features(new["value"]), new["configuration"]])
        end, spread = predict(known, ends, now)
        return new, self.decide(end, spread, float(ends.max()))

    def decide(self, end: float, spread: float, best: float) -> Decision:
        """Return the decision for a predicted end, the spread of its error and the best end so far.

        >>> NasPerfPrediction().decide(0.80, 0.02, 0.85).metrics["unlikely"].__round__(4)
        0.9938
        """
        from scipy.stats import norm

        unlikely = float(norm.cdf((best - end) / spread)) if spread > 0 else float(end <= best)
        stop = unlikely >= self.sure
        why = f"{self.watch} would end at {end:.3g}, below the best so far ({best:.3g}), p = {unlikely:.3f}"
        return Decision(
            stop=stop, why=why if stop else "", metrics={"end": end, "spread": spread, "unlikely": unlikely}
        )
