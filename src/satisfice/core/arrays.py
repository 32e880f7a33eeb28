"""Maths that is written once, over numpy or torch. torch is used only when one of its arrays came in.

`xp = namespace(x)` is `numpy` or `torch`: both have `exp`, `where`, `amax(x, axis=-1, keepdims=True)` and so on. Here
are the few operations in which they differ. torch is never imported by this module.
"""

import sys
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any
"""A `numpy.ndarray` or a `torch.Tensor`; shapes are in the docstrings."""


def is_torch(x: Array) -> bool:
    """Return whether an array is torch's."""
    return type(x).__module__.partition(".")[0] == "torch"


def namespace(x: Array) -> Any:
    """Return the module whose functions take `x`."""
    return sys.modules["torch"] if is_torch(x) else np


def cast(x: Array, dtype: Any) -> Array:
    """Return the values in another precision."""
    return x.to(dtype) if is_torch(x) else x.astype(dtype, copy=False)


def like(x: Array, other: Array) -> Array:
    """Return `x` as a tensor where `other` is one, on the same device."""
    return namespace(other).as_tensor(x, device=other.device) if is_torch(other) else x


def constant(x: Array) -> Array:
    """Return the same values, through which no gradient passes."""
    return x.detach() if is_torch(x) else x


def as_numpy(x: Array) -> NDArray[Any]:
    """Return the values as a numpy array on the CPU, for a choice that needs no gradient; floats in float64."""
    if is_torch(x):
        x = x.detach()
        x = (x.double() if x.is_floating_point() else x).cpu().numpy()
    return np.asarray(x)
