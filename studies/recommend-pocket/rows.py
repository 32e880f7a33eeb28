"""The numbers of all replayed settings in one small file, problem by problem."""

import io
import json
import lzma
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satisfice.core.files import replace_file

FILE = "rows.npz.xz"
Arrays = Mapping[str, NDArray[Any]]


def save(path: Path, kept: Mapping[str, Any], arrays: Arrays) -> None:
    """Write arrays, and what else there is to know as JSON; the same numbers, the same bytes."""
    data = io.BytesIO()
    packed = {name: np.packbits(a) if a.dtype == bool else a for name, a in arrays.items()}
    sizes = {name: a.size for name, a in arrays.items() if a.dtype == bool}
    told = np.frombuffer(json.dumps({**kept, "bools": sizes}).encode(), dtype=np.uint8)
    np.savez(data, kept=told, **packed)
    replace_file(path, lzma.compress(data.getvalue(), preset=9))


def load(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return what `save` wrote."""
    with np.load(io.BytesIO(lzma.decompress(path.read_bytes())), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    kept: dict[str, Any] = json.loads(arrays.pop("kept").tobytes())
    for name, size in kept.pop("bools").items():
        arrays[name] = np.unpackbits(arrays[name], count=size).astype(bool)
    return kept, arrays


def losses(arrays: Arrays, spec: str) -> list[float]:
    """Return the share of problems that a setting loses, tier by tier."""
    lost, tier = arrays[f"lost-{spec}"] > 0, arrays["class"]
    return [float(lost[tier == one].mean()) for one in range(int(tier.max()) + 1)]


def savings(arrays: Arrays, spec: str) -> list[float]:
    """Return the share of tokens that a setting saves: over all, then tier by tier."""
    saved, full = arrays[f"saved-{spec}"].astype(float), arrays["spent"].astype(float)
    tier = arrays["class"]
    parts = [np.ones(tier.size, dtype=bool), *(tier == one for one in range(int(tier.max()) + 1))]
    return [float(saved[some].sum() / full[some].sum()) for some in parts]


def best(specs: Sequence[str], arrays: Arrays, most: float) -> str:
    """Return the setting that saves most of those that lose at most `most` in every tier; "" where none does."""
    good = [spec for spec in specs if max(losses(arrays, spec)) <= most]
    return max(good, key=lambda spec: savings(arrays, spec)[0], default="")
