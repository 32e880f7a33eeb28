"""Merges on tensors that can be checked by hand, and against mergekit on random ones where it is installed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.catalog import build
from satisfice.core.errors import BadInput
from satisfice.core.merge import MERGE, Recipe, Weights
from satisfice.methods.merging import FAMILY, Dare, DlerMerge, Slerp, SvdMerge, TaskArithmetic, Ties
from satisfice.methods.merging.task_vectors import elected, trimmed
from satisfice.testing import check_method


def f32(*values: float) -> Weights:
    return np.array(values, dtype=np.float32)


ZERO = f32(0, 0, 0, 0)
T1, T2 = f32(0.5, -0.2, 0.05, 0.3), f32(0.4, 0.3, -0.02, -0.35)


@pytest.mark.parametrize(
    "spec", [*FAMILY.methods, "dare(then=ties, density=0.25)", "ties(density=0.1)", "svd(rank=1.0)"]
)
def test_it_passes_the_battery(spec: str) -> None:
    check_method(build(spec, MERGE))


def test_the_worked_example_of_ties() -> None:
    assert trimmed(T1, 0.75) == pytest.approx([0.5, -0.2, 0, 0.3])
    assert trimmed(T2, 0.75) == pytest.approx([0.4, 0.3, 0, -0.35])
    merged = Ties(weight=1, density=0.75)(ZERO, [T1, T2])
    assert merged == pytest.approx([0.45, 0.3, 0, -0.35])
    assert Ties(weight=0.5, density=0.75)(ZERO, [T1, T2]) == pytest.approx(merged / 2)


def test_the_worked_example_of_dler() -> None:
    delta = f32(0.08, -0.01, 0.002, -0.05, 0.03, 0, -0.004, 0.02)
    base = np.ones(8, dtype=np.float32)
    merged = DlerMerge()(base, [base + delta]) - base
    assert merged == pytest.approx([0.056, 0, 0, -0.035, 0, 0, 0, 0], abs=1e-6)
    with pytest.raises(BadInput, match="one other; got 2"):
        DlerMerge()(base, [base, base])


def test_a_straight_line_between_and_beyond() -> None:
    for weight, expected in ((0.0, [1, 1]), (0.7, [1.7, 0.3]), (1.0, [2, 0]), (1.5, [2.5, -0.5])):
        assert TaskArithmetic(weight=weight)(f32(1, 1), [f32(2, 0)]) == pytest.approx(expected)


def test_trimming_keeps_the_count_however_many_are_equal() -> None:
    for n, density, kept in ((8, 0.25, 2), (8, 0.3, 2), (3, 0.01, 1), (4, 1.0, 4), (1, 0.5, 1)):
        assert np.count_nonzero(trimmed(np.ones(n, dtype=np.float32), density)) == kept


def test_signs_are_elected_by_weight_and_zeros_have_no_vote() -> None:
    assert elected([f32(1, -1, 0, 0.2), f32(-0.4, 1, 0, 0), f32(-0.4, 0, 0, 0)]) == pytest.approx([1, 1, 0, 0.2])


def test_dropping_is_even_in_expectation_and_its_own_for_each_tensor() -> None:
    delta = np.ones(20_000, dtype=np.float32)
    dare = Dare(weight=1, density=0.25)
    merged = dare(np.zeros_like(delta), [delta])
    assert set(np.unique(merged).tolist()) == {0.0, 4.0}
    assert merged.mean() == pytest.approx(1, abs=0.05)
    assert (merged != dare(np.zeros_like(delta), [delta * 0.5]) * 2).any()
    assert (merged != Dare(weight=1, density=0.25, seed=1)(np.zeros_like(delta), [delta])).any()
    with pytest.raises(BadInput, match="nothing would be left"):
        Dare(density=0)


def test_a_great_circle_keeps_the_length() -> None:
    merged = Slerp(t=0.25)(f32(2, 0), [f32(0, 2)])
    assert np.linalg.norm(merged) == pytest.approx(2)
    assert np.arctan2(merged[1], merged[0]) == pytest.approx(np.pi / 8)
    assert Slerp(t=0.5)(f32(1, 1), [f32(3, 3)]) == pytest.approx([2, 2])
    with pytest.raises(BadInput, match="one other model, got 2"):
        Slerp()(f32(1), [f32(1), f32(1)])


def test_a_few_directions_hold_what_a_low_rank_change_is() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(6, 5)).astype(np.float32)
    change = np.outer(rng.normal(size=6), rng.normal(size=5)).astype(np.float32)
    assert SvdMerge(weight=1, rank=0.2)(base, [base + change]) == pytest.approx(base + change, abs=1e-5)
    assert SvdMerge(weight=1, rank=0.2)(base[0], [base[0] + change[0]]) == pytest.approx(base[0] + change[0], abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_merging_does_not_depend_on_the_order_of_the_models(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base, *others = (rng.normal(size=(4, 3)).astype(np.float32) for _ in range(4))
    for method in (TaskArithmetic(), Ties(density=0.5), SvdMerge(rank=0.5)):
        assert method(base, others) == pytest.approx(method(base, others[::-1]), abs=1e-5)


def test_a_recipe_says_what_mergekit_would_otherwise_choose() -> None:
    recipe = Ties(weight=0.7, density=0.25).recipe("b", ["m"])
    assert recipe["parameters"] == {"normalize": True, "lambda": 0.7}  # a weight would be normalised away
    assert recipe["models"] == [{"model": "m", "parameters": {"weight": 1.0, "density": 0.25}}]
    assert DlerMerge().recipe("b", ["m"])["parameters"] == {"normalize": False, "lambda": 1.0}
    assert {name for name, one in FAMILY.methods.items() if isinstance(one(), Recipe)} == set(FAMILY.methods) - {"svd"}
