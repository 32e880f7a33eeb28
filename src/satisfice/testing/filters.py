"""What every filter must be able to do, checked on small batches of next-token scores."""

import importlib
import importlib.util
from typing import Any

import numpy as np

from satisfice.methods.sampling.filter import Filter, Unbound
from satisfice.testing.method import claim

VOCAB = 40  # tokens
INF = np.inf


def check_filter(method: Filter) -> None:
    """Check what a filter does; one that needs the model's output matrix is given a random one.

    Raises:
        Faulty: a row without a token, a kept token whose score is -inf, scores that are changed where they should stay,
            scores of another type, a row that depends on its neighbours or on a constant added to all its scores, an
            argument changed in place, or, where torch is installed, another result for a tensor.
    """
    bound = method.bind(np.random.default_rng(0).normal(size=(VOCAB, 4))) if isinstance(method, Unbound) else method
    rows = score_rows()
    for dtype in (np.float64, np.float32):
        z = np.array(list(rows.values()), dtype=dtype)
        before = z.copy()
        keep, scores = np.asarray(bound.keep(z)), bound(z)
        claim(keep.shape == z.shape and keep.dtype == np.bool_, method, f"gives `keep` as {keep.dtype} {keep.shape}")
        claim(bool((z == before).all()), method, "changes the scores that it is given")
        claim(type(scores) is np.ndarray and scores.dtype == dtype, method, f"does not give back {dtype.__name__}")
        for number, name in enumerate(rows):
            claim(bool(keep[number].any()), method, f"keeps no token of the row {name!r}")
            claim(not (keep[number] & (z[number] == -INF)).any(), method, f"keeps a token of score -inf ({name})")
            right = np.where(keep[number], z[number], -INF)
            claim(bool((scores[number] == right).all()), method, f"does not score as `keep` says ({name})")
            alone = np.asarray(bound.keep(z[number : number + 1]))[0]
            claim(bool((alone == keep[number]).all()), method, f"depends on the other rows ({name})")
        claim(bool((np.asarray(bound.keep(z + 8)) == keep).all()), method, "depends on a constant added to all scores")
        if importlib.util.find_spec("torch"):
            torch: Any = importlib.import_module("torch")
            other = np.asarray(bound.keep(torch.from_numpy(z)))
            claim(bool((other == keep).all()), method, "keeps other tokens of a torch tensor than of an array")


def score_rows() -> dict[str, list[float]]:
    """Return rows of scores by name: the edges at which filters break, and ordinary ones. Multiples of 1/8, so that a
    whole number can be added to them without rounding.
    """
    rng = np.random.default_rng(0)
    some = {f"random {n}": (np.round(rng.normal(0, 2, VOCAB) * 8) / 8 + rng.permutation(VOCAB) / 64) for n in range(4)}
    hidden = np.where(np.arange(VOCAB) < 3, 1.0 - np.arange(VOCAB) / 8, -INF)
    return {
        "one-hot": [30.0] + [0.0] * (VOCAB - 1),
        "one possible token": [-INF, 3.0] + [-INF] * (VOCAB - 2),
        "uniform": [0.5] * VOCAB,
        "ties": [2.0] * 5 + [1.0] * (VOCAB - 5),
        "masked": hidden.tolist(),
        **{name: row.tolist() for name, row in some.items()},
    }
