"""Go part of the way from the base to another model on a great circle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.merge import Weights

PARALLEL = 0.9995  # cosine from which on a straight line is taken


def slerp(t: float, a: Weights, b: Weights) -> Weights:
    """Return the point at `t` between two tensors on the great circle through their directions.

    Nearly parallel ones, and those of length 0, are joined by a straight line.

    >>> point = slerp(0.5, np.array([2, 0], dtype=np.float32), np.array([0, 2], dtype=np.float32))
    >>> [round(float(x), 4) for x in point]
    [1.4142, 1.4142]
    """
    lengths = [float(np.linalg.norm(one)) for one in (a, b)]
    cosine = float(np.sum(a * b)) / (lengths[0] * lengths[1]) if all(lengths) else 1.0
    if abs(cosine) > PARALLEL:
        return np.asarray((1 - t) * a + t * b, dtype=np.float32)
    angle = np.arccos(cosine)
    return np.asarray((np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Slerp:
    """Go part of the way from the base to one other model on a great circle, tensor by tensor.

        theta = sin((1 - t) w) / sin(w) theta_0 + sin(t w) / sin(w) theta_1,   w the angle between them

    It keeps the length of the weights where a straight line shortens it. Between models that were trained from one
    another the angle is small, and the two are nearly the same.
    """

    card: ClassVar = Card(
        id="slerp", paper="", where="spherical linear interpolation", needs=frozenset(), fidelity="standard"
    )
    strength: ClassVar = "t"

    t: Annotated[float, Range(0, 1)] = 0.5  # 0 is the base, 1 the other

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, base: Weights, others: Sequence[Weights]) -> Weights:
        if len(others) != 1:
            raise BadInput(f"slerp merges the base with one other model, got {len(others)}.")
        return slerp(self.t, base.astype(np.float32), others[0].astype(np.float32))

    def recipe(self, base: str, others: Sequence[str]) -> Mapping[str, Any]:
        models = [{"model": name} for name in (base, *others)]
        return {
            "merge_method": "slerp", "base_model": base, "dtype": "float32", "models": models,
            "parameters": {"t": self.t},
        }  # fmt: skip
