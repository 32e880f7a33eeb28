"""Error norm truncation: which tokens go, and that they are the noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.catalog import build
from satisfice.core.errors import BadInput
from satisfice.core.token_loss import TOKEN_LOSS, error_norm
from satisfice.methods.denoising import Ent
from satisfice.testing import check_method


@pytest.mark.parametrize("spec", ["ent", "ent(threshold=none, fraction=0.3)", "ent(threshold=1.0, begin=5, most=0.9)"])
def test_it_passes_the_battery(spec: str) -> None:
    check_method(build(spec, TOKEN_LOSS))


def test_the_worked_example() -> None:
    cases = {
        0.894: [0.2] * 5, 1.365: [0.02, 0.95, 0.01, 0.01, 0.01], 1.006: [0.1, *[0.225] * 4],
        1.273: [0.1, 0.9, 0, 0, 0], 0.112: [0.9, *[0.025] * 4],
    }  # fmt: skip
    for expected, p in cases.items():
        assert error_norm(np.array(p), 0) == pytest.approx(expected, abs=5e-4)
        assert error_norm(np.array(p), 0) == pytest.approx(np.linalg.norm(np.array(p) - [1, 0, 0, 0, 0]))
    errors = np.array(list(cases))
    assert Ent(threshold=1.2)(errors, 0).tolist() == [1, 0, 1, 0, 1]
    assert -np.log(0.1) == pytest.approx(2.303, abs=1e-3)  # the two in the middle have one loss, and only one goes


def test_a_fraction_drops_what_is_strictly_above_its_rank() -> None:
    errors = np.array([0.1, 0.5, 1.4, 1.2, 0.9])
    assert Ent(threshold=None, fraction=0.4)(errors, 0).tolist() == [1, 1, 0, 0, 1]
    assert Ent(threshold=None, fraction=0.4)(np.ones(5), 0).tolist() == [1] * 5  # ties: fewer go
    assert Ent(begin=3)(np.array([1.4, 0.1, 0.1]), 2).tolist() == [1, 1, 1]
    assert Ent(begin=3)(np.array([1.4, 0.1, 0.1]), 3).tolist() == [0, 1, 1]
    with pytest.raises(BadInput, match="exactly one of threshold and fraction"):
        Ent(fraction=0.1)
    with pytest.raises(BadInput, match="exactly one of threshold and fraction"):
        Ent(threshold=None)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1.414), min_size=1, max_size=40), st.floats(0.05, 0.9))
def test_no_more_goes_than_may(errors: list[float], most: float) -> None:
    weights = Ent(threshold=0.0, most=most)(np.array(errors), 0)
    assert (weights == 0).sum() <= int(most * len(errors))


def test_noise_is_found_better_than_by_the_loss_alone() -> None:
    """Contexts of which some are sure and some open; in a tenth of the places another token was put."""
    rng = np.random.default_rng(0)
    sure, n, size = 0.97, 4000, 20
    is_sure = rng.random(n) < 0.5
    p = np.where(is_sure[:, None], (1 - sure) / (size - 1), np.full((n, size), 1 / size))
    p[is_sure, 0] = sure
    token = np.where(is_sure & (rng.random(n) < sure), 0, rng.integers(0, size, n))
    noisy = rng.random(n) < 0.1
    token[noisy] = rng.integers(1, size, noisy.sum())
    error = np.array([error_norm(row, t) for row, t in zip(p, token, strict=True)])
    loss = -np.log(p[np.arange(n), token])
    gone = Ent(threshold=1.2)(error, 0) == 0
    by_loss = loss >= np.sort(loss)[::-1][gone.sum() - 1]
    assert noisy[gone].mean() >= noisy[by_loss].mean()
    assert noisy[gone].mean() > 3 * noisy.mean()
