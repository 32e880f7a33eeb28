"""What a rule has learned, in a file: a small network, the layers that it reads, and where it comes from.

The file is JSON; arrays are base64 of little-endian float32. Nothing in it is run or unpickled.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput, CannotWrite, Unfit

SCHEMA_VERSION = 1
MAX_BYTES = 64 << 20  # no artefact of ours comes near
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Standardise, then linear layers with a ReLU between each two: what a logistic regression or an MLP learns.

    >>> import numpy as np
    >>> unit = Network(mean=np.zeros(2), scale=np.ones(2), weights=(np.ones((2, 1)),), biases=(np.zeros(1),))
    >>> float(unit([1.0, 2.0])[0])
    3.0
    """

    mean: NDArray[Any]  # [d]
    scale: NDArray[Any]  # [d]
    weights: tuple[NDArray[Any], ...]  # [in, out] each
    biases: tuple[NDArray[Any], ...]  # [out] each

    def __post_init__(self) -> None:
        width = self.mean.shape
        if len(width) != 1 or self.scale.shape != width or not self.weights or len(self.weights) != len(self.biases):
            raise ValueError("mean and scale must be vectors of one length, and weights and biases come in pairs")
        for weight, bias in zip(self.weights, self.biases, strict=True):
            if weight.ndim != 2 or (weight.shape[0],) != width or bias.shape != weight.shape[1:]:
                raise ValueError(f"a layer of shape {weight.shape} does not take what the one before it gives")
            width = bias.shape
        if not all(np.isfinite(a).all() for a in (self.mean, self.scale, *self.weights, *self.biases)):
            raise ValueError("a number is not finite")

    def __call__(self, x: ArrayLike) -> NDArray[np.float64]:
        """Outputs `[..., out]` for features `[..., d]`."""
        values = (np.asarray(x, dtype=np.float64) - self.mean) / self.scale
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = (values if i == 0 else np.maximum(values, 0)) @ weight + bias
        return np.asarray(values)


@dataclass(frozen=True, kw_only=True, eq=False)
class Artefact:
    """What `satisfice calibrate` makes and a rule loads by its path."""

    rule: str  # id of the rule that it is for
    network: Network
    layers: tuple[int, ...] = ()  # whose hidden states are its features, one after another
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # calibration scores
    weights: str = ""  # mark of the model's weights; "" fits any model
    about: Mapping[str, Any] = field(default_factory=dict)  # training data, split, what was measured on which problems

    def save(self, path: Path) -> None:
        """Write it down; a file that is there is replaced as a whole."""
        net = self.network
        row = {
            "schema_version": SCHEMA_VERSION, "rule": self.rule, "layers": list(self.layers), "weights": self.weights,
            "network": {
                "mean": _pack(net.mean), "scale": _pack(net.scale), "weights": [_pack(w) for w in net.weights],
                "biases": [_pack(b) for b in net.biases],
            },
            "arrays": {name: _pack(values) for name, values in self.arrays.items()}, "about": dict(self.about),
        }  # fmt: skip
        half = path.with_name(path.name + ".part")
        try:
            half.write_text(json.dumps(row, indent=1, allow_nan=False), encoding="utf-8")
            half.replace(path)
        except OSError as error:
            raise CannotWrite(f"{path} cannot be written: {error.strerror}.") from error

    def check_model(self, engine: Engine) -> None:
        """Raise `Unfit` when the engine runs other weights than those that this was learned from."""
        found = str(engine.describe().get("weights", ""))
        if self.weights and found and found != self.weights:
            raise Unfit(
                f"{self.rule}: its artefact was learned from a model whose weights are marked {self.weights}, and this "
                f"one's are {found}. Make one for this model with `satisfice calibrate {self.rule}`."
            )


def load_artefact(path: str, rule: str) -> Artefact:
    """Read an artefact for a rule.

    Raises:
        BadInput: no path, no such file, not an artefact, or one for another rule.
    """
    if not path:
        raise BadInput(
            f"{rule}: artefact is missing. Make one with `satisfice calibrate {rule}` and give its path: "
            f"{rule}(artefact=FILE)."
        )
    file = Path(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise BadInput(f"{rule}: artefact {path} is larger than any artefact ({MAX_BYTES >> 20} MiB).")
        row = json.loads(file.read_text("utf-8"))
        if row["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version {row['schema_version']!r}, this release reads {SCHEMA_VERSION}")
        net = row["network"]
        artefact = Artefact(
            rule=str(row["rule"]), layers=tuple(int(n) for n in row["layers"]), weights=str(row["weights"]),
            network=Network(
                mean=_unpack(net["mean"]), scale=_unpack(net["scale"]),
                weights=tuple(_unpack(w) for w in net["weights"]), biases=tuple(_unpack(b) for b in net["biases"]),
            ),
            arrays={str(name): _unpack(values) for name, values in row["arrays"].items()}, about=dict(row["about"]),
        )  # fmt: skip
    except OSError as error:
        raise BadInput(f"{rule}: artefact {path} cannot be read: {error.strerror}.") from error
    except BadInput:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"{rule}: {path} is no artefact ({type(error).__name__}: {error}).") from error
    if artefact.rule != rule:
        raise BadInput(f"{rule}: {path} is an artefact for {artefact.rule}.")
    return artefact


def sigmoid(x: ArrayLike) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(x, dtype=np.float64))))


def _pack(values: NDArray[Any]) -> dict[str, Any]:
    data = np.ascontiguousarray(values, dtype="<f4")
    return {"shape": list(data.shape), "float32": base64.b64encode(data.tobytes()).decode()}


def _unpack(row: Mapping[str, Any]) -> Floats:
    shape = [int(n) for n in row["shape"]]
    try:
        data = np.frombuffer(base64.b64decode(row["float32"], validate=True), dtype="<f4")
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    if any(n < 0 for n in shape) or int(np.prod(shape)) != data.size:
        raise ValueError(f"{data.size} numbers do not fill the shape {shape}")
    return data.reshape(shape)
