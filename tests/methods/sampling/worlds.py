"""Rows of logits that the filters are tried on, and both kinds of arrays to put them in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

P = np.array([0.45, 0.25, 0.15, 0.08, 0.05, 0.02])
Z = np.log(P)[None]

KINDS: dict[str, Callable[[Any], Any]] = {
    "numpy": lambda z: np.asarray(z, dtype=np.float32),
    "numpy64": lambda z: np.asarray(z, dtype=np.float64),
    "torch": lambda z: torch.tensor(np.asarray(z), dtype=torch.float32),
    "torch64": lambda z: torch.tensor(np.asarray(z), dtype=torch.float64),
}


def ids(keep: Any, row: int = 0) -> list[int]:
    """The tokens that a row keeps."""
    return [int(i) for i in np.flatnonzero(np.asarray(keep)[row])]


def random_logits(seed: int, batch: int, vocab: int, *, scale: float = 3.0, masked: float = 0.0) -> NDArray[np.float32]:
    """Normal scores; a share of them, never all of a row, is -inf."""
    rng = np.random.default_rng(seed)
    z = (scale * rng.standard_normal((batch, vocab))).astype(np.float32)
    gone = rng.random((batch, vocab)) < masked
    gone[:, 0] = False
    z[gone] = -np.inf
    return z
