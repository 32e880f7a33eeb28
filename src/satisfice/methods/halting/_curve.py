"""What halters that look at a curve remember: where it was measured and what was seen there."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from satisfice.core.errors import BadInput
from satisfice.core.halter import Observation, State

Floats = NDArray[np.float64]
EMPTY: dict[str, Any] = {"at": [], "value": []}


def extended(state: State, observation: Observation, watch: str, method: str) -> dict[str, Any]:
    """Return the state with one more point of the curve.

    Raises:
        BadInput: the observation lacks the metric, or does not come after the last one.
    """
    at = state["at"]
    if at and observation.at <= at[-1]:
        raise BadInput(f"{method}: observations must come in order, got one at {observation.at:g} after {at[-1]:g}.")
    return {**state, "at": [*at, float(observation.at)], "value": [*state["value"], float(observation.value(watch))]}


def points(state: State) -> tuple[Floats, Floats]:
    """Return where the curve was measured and its values, both `[n]`."""
    return np.asarray(state["at"], dtype=np.float64), np.asarray(state["value"], dtype=np.float64)
