"""Fit a power law to a learning curve and stop when little is left to gain."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.halter import GO_ON, Decision, Observation, State
from satisfice.methods.halting._curve import EMPTY, extended, points

LEAST_POINTS = 4  # one more than a power law has parameters
_EXPONENTS = np.geomspace(0.01, 5, 200)


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """f(x) = -a x^(-b) + c: what is left to gain at x is a x^(-b)."""

    a: float
    b: float
    c: float

    def __call__(self, x: float) -> float:
        return float(self.c - self.a * x**-self.b)


def fit_power_law(x: ArrayLike, y: ArrayLike) -> PowerLaw:
    """Fit f(x) = -a x^(-b) + c by least squares, with a >= 0 and b from 0.01 to 5; x is above 0.

    For a given b the best a and c are a straight line's, so only b is searched. A curve that falls has a = 0.

    >>> law = fit_power_law([1, 2, 4, 8, 16], [0.5, 0.65, 0.725, 0.7625, 0.78125])
    >>> round(law.a, 3), round(law.b, 3), round(law.c, 3)
    (0.3, 1.0, 0.8)
    """
    from scipy.optimize import minimize_scalar

    at, seen = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if at.shape != seen.shape or at.ndim != 1 or len(at) < 2 or not (at > 0).all():
        raise BadInput("fit_power_law: x and y must be lists of one length, at least 2, and every x above 0.")
    scale = float(at[0])  # so that powers of large steps neither vanish nor overflow
    middle = seen - seen.mean()

    def line(b: float) -> tuple[float, float]:
        """Return a (of the scaled x, at least 0) and the squared error."""
        basis = (at / scale) ** -b
        basis = basis - basis.mean()
        within = float(basis @ basis)
        a = max(0.0, -float(basis @ middle) / within) if within > 0 else 0.0
        return a, float(((middle + a * basis) ** 2).sum())

    errors = [line(b)[1] for b in _EXPONENTS]
    best = int(np.argmin(errors))
    low, high = _EXPONENTS[max(best - 1, 0)], _EXPONENTS[min(best + 1, len(_EXPONENTS) - 1)]
    found = minimize_scalar(lambda b: line(b)[1], bounds=(low, high), method="bounded", options={"xatol": 1e-10})
    b = float(found.x) if found.fun <= errors[best] else float(_EXPONENTS[best])
    a, _ = line(b)
    c = float((seen + a * (at / scale) ** -b).mean())
    return PowerLaw(a=a * scale**b, b=b, c=c)


@dataclass(frozen=True, kw_only=True)
class PosLearningCurves:
    """Fit a power law to the curve so far, and stop when it leaves less to gain than the threshold.

    With each observation x_i the law f_i(x) = -a x^(-b) + c_i is fitted to all so far. The asymptotes c_i wander at
    first; from the *prediction level* on they are possible values and move one way only. From there on,

        stop if |c_i - f_i(x_i)| <= threshold

    so the threshold is the accuracy that is given up, in units of the metric. The paper watches taggers on growing
    parts of their data. Differs from the paper: `settled` asymptotes in a row, moving one way, tell the prediction
    level; irregular observations have no anchors.
    """

    card: ClassVar = Card(
        id="pos-learning-curves", system="pos-learning-curves", paper="arXiv:2402.02515",
        where="prediction level and proximity condition", needs=frozenset(), fidelity="reconstructed",
        ours=("threshold", "settled", "most", "watch"),
    )  # fmt: skip

    threshold: Annotated[float, Range(0)] = 0.005  # of the metric: what may be left to gain
    settled: Annotated[int, Range(2)] = 3  # asymptotes that must move one way before they are believed
    most: Annotated[float, Range()] = 1.0  # the greatest value that the metric can have
    watch: str = "accuracy"  # metric of which more is better; `-loss` turns one around

    def __post_init__(self) -> None:
        check_fields(self)

    def init(self) -> State:
        return {**EMPTY, "asymptotes": []}

    def __call__(self, state: State, observation: Observation, /) -> tuple[State, Decision]:
        if observation.at <= 0:
            raise BadInput(f"pos-learning-curves: a power law begins above 0, got an observation at {observation.at}.")
        new = extended(state, observation, self.watch, self.card.id)
        x, y = points(new)
        if len(x) < LEAST_POINTS:
            return new, GO_ON
        law = fit_power_law(x, y)
        new["asymptotes"] = [*state["asymptotes"], law.c]
        left = abs(law.c - law(float(x[-1])))
        stop = at_prediction_level(new["asymptotes"], self.settled, self.most) and left <= self.threshold
        why = f"{self.watch} would rise by another {left:.2g} at most, to {law.c:.4g}" if stop else ""
        return new, Decision(stop=stop, why=why, metrics={"asymptote": law.c, "left": left})


def at_prediction_level(asymptotes: ArrayLike, settled: int, most: float) -> bool:
    """Return whether the last `settled` asymptotes are possible values and move one way.

    >>> at_prediction_level([1.3, 0.96, 0.95, 0.949], 3, most=1.0), at_prediction_level([0.95, 0.96, 0.95], 3, most=1.0)
    (True, False)
    """
    last = np.asarray(asymptotes, dtype=np.float64)[-settled:]
    moves = np.diff(last)
    return len(last) == settled and bool((last <= most).all() and ((moves <= 0).all() or (moves >= 0).all()))
