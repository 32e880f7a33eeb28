"""What every merge must be able to do, checked on small tensors."""

from collections.abc import Iterator

import numpy as np

from satisfice.core.errors import BadInput
from satisfice.core.fields import field_types
from satisfice.core.merge import Merge, Weights
from satisfice.testing.method import claim


def check_merge(merge: Merge) -> None:
    """Check what a merge does.

    Raises:
        Faulty: another shape, what is not finite, another result the second time, a base that is changed in place, or
            anything but the base where all models are the base; `strength` that is no field of it.
    """
    claim(merge.strength in field_types(type(merge)), merge, f"has no field {merge.strength!r} to sweep")
    for where, base, others in worlds():
        before = base.copy()
        try:
            merged = merge(base, others)
        except BadInput:
            claim(len(others) != 1, merge, f"refuses a base and one model ({where})")
            continue
        claim(
            merged.shape == base.shape and merged.dtype == np.float32, merge, f"gives another shape or type ({where})"
        )
        claim(bool(np.isfinite(merged).all()), merge, f"gives what is not finite ({where})")
        claim(bool((merged == merge(base, others)).all()), merge, f"is not deterministic ({where})")
        claim(bool((base == before).all()), merge, f"changes the base in place ({where})")
        same = merge(base, [base.copy() for _ in others])
        claim(bool(np.allclose(same, base, atol=1e-6)), merge, f"moves where there is nowhere to go ({where})")


def worlds() -> Iterator[tuple[str, Weights, list[Weights]]]:
    """Yield a base and models, with what is hard about them."""
    rng = np.random.default_rng(0)
    for shape in ((4,), (1,), (3, 5), (2, 3, 4)):
        for n in (1, 2, 3):
            base = rng.normal(size=shape).astype(np.float32)
            yield (
                f"{n} models, shape {shape}",
                base,
                [(base + 0.1 * rng.normal(size=shape)).astype(np.float32) for _ in range(n)],
            )
    zero = np.zeros((2, 2), dtype=np.float32)
    yield "zeros", zero, [zero]
    yield "a base of zeros", zero, [np.ones((2, 2), dtype=np.float32)]
    yield "a model turned around", np.ones(3, dtype=np.float32), [-np.ones(3, dtype=np.float32)]
