"""Power laws fitted to learning curves: what is recovered, when it stops, and real curves of a classifier."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.core.halter import Observation, follow
from satisfice.methods.halting.pos_learning_curves import PosLearningCurves, at_prediction_level, fit_power_law


@given(st.floats(0.01, 3), st.floats(0.1, 3), st.floats(0, 1), st.sampled_from([1.0, 5.0, 1000.0]))
def test_a_power_law_is_recovered_from_its_own_points(a: float, b: float, c: float, scale: float) -> None:
    x = scale * np.arange(1, 13)
    law = fit_power_law(x, c - a * (x / scale) ** -b)
    assert law.c == pytest.approx(c, abs=2e-3 * (1 + a))
    assert law(float(x[-1])) == pytest.approx(c - a * 12**-b, abs=1e-4 * (1 + a))


def test_edges_of_a_fit() -> None:
    flat = fit_power_law([1, 2, 3, 4], [0.5] * 4)
    assert (flat.a, flat.c) == (0, 0.5)
    falling = fit_power_law([1, 2, 3, 4], [0.8, 0.6, 0.5, 0.4])
    assert (falling.a, falling.c) == (0, pytest.approx(0.575))  # nothing is left to gain
    with pytest.raises(BadInput, match="every x above 0"):
        fit_power_law([0, 1, 2], [0, 1, 2])
    with pytest.raises(BadInput, match="begins above 0"):
        PosLearningCurves()(PosLearningCurves().init(), Observation(at=0, metrics={"accuracy": 0.1}))


def test_the_prediction_level_needs_possible_values_that_move_one_way() -> None:
    assert not at_prediction_level([1.2, 1.1, 1.05], 3, most=1.0)
    assert not at_prediction_level([0.9, 0.89], 3, most=1.0)
    assert at_prediction_level([0.7, 0.9, 0.89, 0.89], 3, most=1.0)
    assert at_prediction_level([0.8, 0.81, 0.82], 3, most=1.0)


def test_it_stops_where_its_threshold_is_left_and_not_before() -> None:
    x = np.arange(1, 200)
    y = 0.9 - 0.5 * x**-1.0
    run = [Observation(at=float(a), metrics={"accuracy": float(v)}) for a, v in zip(x, y, strict=True)]
    _, seen, decision = follow(PosLearningCurves(threshold=0.01), run)
    assert seen[-1].at == pytest.approx(50, abs=2)  # 0.5 / x = 0.01
    assert decision.metrics["left"] <= 0.01
    assert decision.metrics["asymptote"] == pytest.approx(0.9, abs=1e-3)
    assert "would rise by another" in decision.why


def test_on_recorded_curves_of_a_classifier_the_end_lies_within_what_it_predicted() -> None:
    """Naive Bayes on handwritten digits, trained on growing parts: 8 orders of the data."""
    from sklearn.datasets import load_digits
    from sklearn.naive_bayes import GaussianNB

    x, y = load_digits(return_X_y=True)
    halter, saved, missed = PosLearningCurves(threshold=0.02), [], []
    sizes = np.arange(60, 1201, 60)
    for seed in range(8):
        order = np.random.default_rng(seed).permutation(len(x))
        test, train = order[:500], order[500:]
        model = GaussianNB(var_smoothing=1e-2)
        curve = [model.fit(x[train[:n]], y[train[:n]]).score(x[test], y[test]) for n in sizes]
        run = [Observation(at=float(n), metrics={"accuracy": v}) for n, v in zip(sizes, curve, strict=True)]
        _, seen, decision = follow(halter, run)
        if decision.stop:
            saved.append(1 - len(seen) / len(run))
            missed.append(curve[-1] - seen[-1].metrics["accuracy"])
    assert len(saved) >= 6
    assert np.mean(saved) > 0.2
    assert np.mean(np.array(missed) <= 0.02 + 0.015) > 0.8  # the threshold, and the noise of 500 test digits
