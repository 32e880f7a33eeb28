"""Trace metrics and budget curves: the worked examples, and what holds for any numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.measure.metrics import (
    AesWeights,
    accuracy_at,
    aes,
    area,
    efficiency_score,
    frontier,
    hypervolume,
    outcome_efficiency,
    overthink_score,
    process_efficiency,
    reflections,
    review_ratio,
    tokens_at,
    underthinking,
)


def test_outcome_efficiency() -> None:
    assert outcome_efficiency([901, 400, 1000], [39, 200, None]) == pytest.approx(0.1811, abs=1e-4)
    assert outcome_efficiency([901], [39]) == pytest.approx(0.043, abs=1e-3)
    assert outcome_efficiency([7, 9], [7, None]) == 0.5, "with one solution each it is the accuracy"


def test_process_efficiency() -> None:
    tokens = [39, 109, 39, 29, 29, 19, 59]
    rest = 901 - sum(tokens)
    assert process_efficiency([[*tokens, rest]], [[1] * 7 + [0]]) == pytest.approx(0.358, abs=1e-3)
    assert process_efficiency([tokens], [[1] * 7], length=[901]) == pytest.approx(323 / 901)
    assert process_efficiency([[10, 20], [5]], [[1, 1], [1]]) == 1


def test_overthink_score() -> None:
    scores = [overthink_score(*args) for args in ((6, 10, 3, 100), (9, 10, 1, 100), (4, 16, 5, 100))]
    assert scores == pytest.approx([0.363, 0.091, 0.68], abs=1e-3)
    with pytest.raises(BadInput, match="first_step must be from 1 to steps=4, got 5"):
        overthink_score(5, 4, 0, 10)


def test_underthinking() -> None:
    assert underthinking([7681, 5000, 2000], [411, None, 500]) == pytest.approx(0.5655, abs=1e-4)


def test_aes_and_how_its_sign_hangs_on_the_weights() -> None:
    assert aes(500, 0.82, 1000, 0.80) == pytest.approx(0.575)
    assert aes(500, 0.76, 1000, 0.80) == pytest.approx(0.25)
    assert aes(500, 0.76, 1000, 0.80, AesWeights(gamma=10)) == pytest.approx(0.0)
    assert aes(447, 0.817, 530, 0.892) == pytest.approx(-0.264, abs=1e-3), "the formula, where the paper's table errs"
    assert aes(761, 0.718, 1156, 0.738) == pytest.approx(0.206, abs=1e-3)
    with pytest.raises(BadInput, match="no relative change"):
        aes(1, 1, 1, 0)


def test_efficiency_score() -> None:
    assert efficiency_score(0.9, 300, 100, 900) == pytest.approx(0.8182, abs=1e-4)
    assert efficiency_score(0.9, 5, 5, 5) == pytest.approx(2 * 0.9 / 1.9)
    assert efficiency_score(0.0, 900, 100, 900) == 0


def test_budget_curves() -> None:
    right, tokens = [1, 1, 0, 1], [300, 900, 1500, 4000]
    assert accuracy_at(right, tokens, [500, 1000, 2000, 4000]).tolist() == [0.25, 0.5, 0.5, 0.75]
    assert area(right, tokens, 4000) == pytest.approx(0.425)
    assert area([1, 1, 1, 0], [50, 300, 2000, 10], 1000) == pytest.approx(0.4125), "OptimalThinkingBench's AUC_OAA"


chains = st.lists(st.tuples(st.booleans(), st.integers(1, 5000)), min_size=1, max_size=30)


@given(chains, st.integers(10, 5000))
def test_the_linear_area_is_that_under_the_curve(rows: list[tuple[bool, int]], most: int) -> None:
    right, tokens = zip(*rows, strict=True)
    budgets = (np.arange(4000) + 0.5) * most / 4000
    assert area(right, tokens, most) == pytest.approx(accuracy_at(right, tokens, budgets).mean(), abs=1e-3)


@given(chains)
def test_the_log_area_is_that_under_the_curve_on_a_log_axis(rows: list[tuple[bool, int]]) -> None:
    right, tokens = zip(*rows, strict=True)
    budgets = np.exp(np.linspace(np.log(20), np.log(2000), 4001)[:-1] + np.log(100) / 8000)
    assert area(right, tokens, 2000, least=20) == pytest.approx(accuracy_at(right, tokens, budgets).mean(), abs=1e-3)


def test_tokens_at_equal_accuracy_and_the_frontier() -> None:
    tokens, accuracy = [1000, 2000, 3000, 4000], [0.70, 0.80, 0.78, 0.85]
    assert frontier(tokens, accuracy) == [(1000, 0.7), (2000, 0.8), (4000, 0.85)]
    assert tokens_at(0.75, tokens, accuracy) == 1500
    assert tokens_at(0.85, tokens, accuracy) == 4000
    assert tokens_at(0.86, tokens, accuracy) is None, "nothing is extrapolated"
    assert tokens_at(0.69, tokens, accuracy) is None
    assert hypervolume(tokens, accuracy, 8000) == pytest.approx(0.7125)


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(0, 100)), min_size=1, max_size=20))
def test_the_frontier_dominates_every_point(points: list[tuple[int, int]]) -> None:
    x, y = zip(*points, strict=True)
    front = frontier(x, y)
    assert all(any(a <= p and b >= q for a, b in front) for p, q in points)
    assert front == sorted(front)
    assert len({b for _, b in front}) == len(front)


def test_reflections_are_counted_by_what_they_do() -> None:
    counted = reflections(["1", "1", "2", "2", "3", "4"], [False, False, True, True, False, False])
    assert counted == {"confirms wrong": 1, "corrects": 1, "confirms right": 1, "spoils": 1, "stays wrong": 1}
    assert sum(reflections(["1"], [True]).values()) == 0
    assert sum(reflections([], []).values()) == 0


def test_review_ratio() -> None:
    assert review_ratio([30, 10, 20], [False, True, True]) == 0.5
    with pytest.raises(BadInput, match="at least one token"):
        review_ratio([], [])
