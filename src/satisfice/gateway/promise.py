"""What a config file says was promised of its policy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from satisfice.core.errors import BadInput
from satisfice.measure.drift import Reference
from satisfice.measure.promises import Loss

OnBroken = Literal["warn", "full"]


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What `[promise]` in a config file says of its policy."""

    loss: Loss = "lost"
    most: float = 0.02
    confidence: float = 0.95
    changed_most: float | None = None  # bound above the share of answers that changed when the promise was made
    saving_low: float | None = None  # lower end of the saving's interval then
    traffic: Mapping[str, Reference] = field(default_factory=dict)

    @property
    def allowed(self) -> float | None:
        """The share of changed answers that is tested; None: nothing can be, as nobody knows what is right."""
        return self.most if self.loss == "changed" else self.changed_most


def promise_from(row: Mapping[str, Any]) -> Promise:
    """Return the promise of a config file; what else stands there is for people.

    Raises:
        BadInput: a value is not what it should be.
    """
    if row.get("loss", "lost") not in get_args(Loss):
        raise BadInput(f"promise.loss must be one of {', '.join(get_args(Loss))}, got {row['loss']!r}.")
    shares: dict[str, Any] = {}
    for name in ("most", "confidence", "changed_most", "saving_low"):
        value = row.get(name)
        if value is None:
            continue
        low = -math.inf if name == "saving_low" else 0
        if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < 1:
            raise BadInput(f"promise.{name} must be a share below 1, got {value!r}. Make the file anew with recommend.")
        shares[name] = float(value)
    traffic = {}
    for name, reference in dict(row.get("traffic", {})).items():
        try:
            traffic[str(name)] = Reference(
                edges=tuple(float(edge) for edge in reference["edges"]), counts=tuple(map(int, reference["counts"]))
            )
        except (KeyError, TypeError, ValueError, BadInput) as error:
            raise BadInput(f"promise.traffic.{name} is no reference: {error}. Make the file anew.") from error
    return Promise(loss=row.get("loss", "lost"), traffic=traffic, **shares)
