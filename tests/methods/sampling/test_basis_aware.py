"""Basis-aware truncation: the worked example, what every certificate must satisfy, and the released way to draw."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.methods.sampling.worlds import P, Z, ids

from satisfice.core.errors import BadInput, Unfit
from satisfice.methods.sampling.basis_aware import BasisAware, basis_of, certify, draw, threshold

W = np.array([(1, 0), (1, 0.2), (0, 1), (0, 0.9), (-1, -0.5), (2.5, 2.5)])


def kept(tau: float) -> list[int]:
    return [token for token in range(6) if certify(P, W, tau, token) == "certified"]


def test_worked_example_keeps_a_token_and_cuts_a_likelier_one() -> None:
    told = W.T @ P
    assert told == pytest.approx([0.7, 0.297])
    assert kept(0.1) == [0, 1, 2, 3, 4, 5]
    assert kept(0.3) == [0, 1, 2, 4]
    assert kept(0.5) == [0, 2]
    q = P[kept(0.3)] / P[kept(0.3)].sum()
    assert q == pytest.approx([0.5, 0.277778, 0.166667, 0.055556], abs=1e-6)


def test_as_a_filter_over_numpy_and_torch() -> None:
    method = BasisAware(base="epsilon", epsilon=0.3, columns=2)
    for z in (Z, torch.tensor(Z), torch.tensor(Z, dtype=torch.float32).repeat(2, 1)):
        bound = method.bind(W)
        assert ids(bound.keep(z)) == [0, 1, 2, 4]
        told = {"certified": 3 * len(z), "possibly-zero": 2 * len(z), "unsolved": 0}
        assert bound.outcomes == told, "1, 2 and 4 lie below the threshold and pass; 3 and 5 do not"
        assert ids(np.isfinite(np.asarray(bound(z)))) == [0, 1, 2, 4]
    assert ids(BasisAware(base="epsilon", epsilon=0.3, columns=2, tests=1).bind(W).keep(Z)) == [0, 1]
    assert ids(BasisAware(base="epsilon", epsilon=0.3, tests=0).bind(W).keep(Z)) == [0]


def test_the_likeliest_token_stays_even_where_it_is_not_certified() -> None:
    assert ids(BasisAware(base="epsilon", epsilon=0.99, tests=0).bind(W).keep(Z)) == [0]


def test_without_the_matrix_it_says_what_to_do() -> None:
    with pytest.raises(Unfit, match="Bind it first"):
        BasisAware()(Z)
    with pytest.raises(BadInput, match=r"must be \[6, d\]"):
        BasisAware(epsilon=0.5, base="epsilon").bind(W[:4]).keep(Z)
    with pytest.raises(BadInput, match="finite"):
        BasisAware().bind(np.full((6, 2), np.nan))


def test_eta_sets_the_threshold_by_default() -> None:
    assert threshold(P, 0.1) == pytest.approx(0.076394, abs=1e-6)
    assert threshold(P, 0.06) == pytest.approx(0.059175, abs=1e-6)
    assert threshold(P, 0.1, "epsilon") == 0.1


worlds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@settings(max_examples=25)
@given(rng=worlds, tau=st.floats(0.01, 0.6))
def test_no_rows_means_the_plain_threshold_and_more_rows_only_certify_more(
    rng: np.random.Generator, tau: float
) -> None:
    p, matrix = rng.dirichlet(np.full(12, 0.5)), rng.standard_normal((12, 4))
    few, many = (basis_of(matrix, columns) for columns in (2, 4))
    for token in range(12):
        told = [certify(p, rows, tau, token) for rows in (np.zeros((12, 1)), few, many)]
        if abs(p[token] - tau) > 1e-6:
            assert (told[0] == "certified") == (p[token] >= tau)
        if "unsolved" not in told:
            assert (
                told.index("certified") == min(i for i in range(3) if told[i] == "certified")
                if ("certified" in told)
                else True
            )
            assert told[1] != "certified" or told[2] == "certified"


@settings(max_examples=25)
@given(rng=worlds, tau=st.floats(0.05, 0.5))
def test_a_certified_token_is_in_every_true_distribution_that_the_model_may_have_meant(
    rng: np.random.Generator, tau: float
) -> None:
    """Mix the model's p with another solution of the same equations that lies within the factor: none drops it to 0."""
    p, matrix = rng.dirichlet(np.full(10, 0.7)), rng.standard_normal((10, 3))
    kernel = np.linalg.svd(np.column_stack([matrix, np.ones(10)]).T)[2][4:]
    for _ in range(5):
        step = rng.standard_normal(len(kernel)) @ kernel
        grow = np.where(step > 0, p / (1 - tau) - p, p) / np.maximum(np.abs(step), 1e-300)
        true = p + grow.min() * step  # as far as the bounds allow: some token is at 0 or at its upper bound
        for token in np.flatnonzero(true < 1e-12):
            if abs(p[token] - tau) > 1e-6:
                assert certify(p, matrix, tau, int(token)) != "certified"


def test_fewer_directions_keep_the_leading_ones() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((50, 6)) * [9, 5, 1, 0.1, 0.1, 0.1]
    two = basis_of(matrix, 2)
    assert two.shape == (50, 2)
    assert np.linalg.norm(two) ** 2 == pytest.approx((np.linalg.svd(matrix)[1][:2] ** 2).sum())


def test_drawing_gives_certified_tokens_in_proportion_and_the_likeliest_after_the_limit() -> None:
    rng = np.random.default_rng(1)
    tokens, programs = zip(*(draw(P, W, 0.3, rng) for _ in range(400)), strict=True)
    assert set(tokens) == {0, 1, 2, 4}
    share = np.bincount(tokens, minlength=6) / len(tokens)
    assert share[[0, 1, 2, 4]] == pytest.approx([0.5, 0.278, 0.167, 0.056], abs=0.08)
    assert max(programs) <= 3, "two rejected ones and the accepted"
    forced = [draw(P, W, 0.9, rng, retry_limit=1)[0] for _ in range(50)]
    assert 0 in forced
    assert draw([1.0, 0, 0, 0, 0, 0], W, 0.5, rng) == (0, 0)
