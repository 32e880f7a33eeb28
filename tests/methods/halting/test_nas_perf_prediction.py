"""Predicting how runs end from those that ended: the rule's arithmetic, its prediction, and what it saves."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from satisfice.core.halter import Observation, follow, next_run
from satisfice.methods.halting.nas_perf_prediction import NasPerfPrediction, features, predict

HORIZON = 20


def runs(count: int, seed: int) -> NDArray[np.float64]:
    """Learning curves that differ in where they end and how quickly they get there, with noise: [count, HORIZON]."""
    rng = np.random.default_rng(seed)
    end, speed = rng.uniform(0.5, 0.9, (count, 1)), rng.uniform(0.3, 1.2, (count, 1))
    steps = np.arange(1, HORIZON + 1)
    return np.asarray(end - 0.4 * steps**-speed + 0.005 * rng.standard_normal((count, HORIZON)))


def test_what_the_regression_sees() -> None:
    assert features([[1, 2, 4, 8]]).tolist() == [[1, 2, 4, 8, 1, 2, 4, 1, 2]]


def test_the_rule() -> None:
    told = NasPerfPrediction(sure=0.95).decide(0.80, 0.02, 0.85)
    assert told.metrics["unlikely"] == pytest.approx(norm.cdf(2.5))
    assert told.stop
    assert "would end at 0.8, below the best so far (0.85)" in told.why
    assert not NasPerfPrediction(sure=0.999).decide(0.80, 0.02, 0.85).stop
    assert NasPerfPrediction().decide(0.8, 0.0, 0.8).stop  # sure of it
    assert not NasPerfPrediction().decide(0.81, 0.0, 0.8).stop


def test_it_predicts_better_than_the_last_value() -> None:
    curves, new = runs(40, 0), runs(40, 1)
    known = features(curves[:, :6])
    guessed = np.array([predict(known, curves[:, -1], features(run[:6]))[0] for run in new])
    around = ((new[:, -1] - new[:, -1].mean()) ** 2).sum()
    fit = 1 - ((guessed - new[:, -1]) ** 2).sum() / around
    last = 1 - ((new[:, 5] - new[:, -1]) ** 2).sum() / around
    assert fit > 0.7
    assert fit > last + 0.1


def test_it_saves_evaluations_and_keeps_the_best_run() -> None:
    halter = NasPerfPrediction(horizon=HORIZON, configuration="rate", first=4)
    saved, regret = [], []
    for seed in range(1):
        curves, state, spent, best = runs(22, 10 + seed), halter.init(), 0, 0.0
        for curve in curves:
            run = [
                Observation(at=step, metrics={"accuracy": value, "rate": 0.1}) for step, value in enumerate(curve, 1)
            ]
            state, seen, decision = follow(halter, run, state)
            state = next_run(halter, state)
            spent += len(seen)
            best = best if decision.stop else max(best, float(curve[-1]))
        saved.append(1 - spent / curves.size)
        regret.append(curves[:, -1].max() - best)
    assert np.mean(saved) > 0.25
    assert max(regret) < 0.02


def test_runs_that_were_stopped_teach_nothing_and_few_runs_stop_none() -> None:
    halter = NasPerfPrediction(horizon=HORIZON)
    state = halter.init()
    for curve in runs(5, 3):
        run = [Observation(at=step, metrics={"accuracy": value}) for step, value in enumerate(curve, 1)]
        state, seen, _ = follow(halter, run, state)
        assert len(seen) == HORIZON
        state = next_run(halter, state)
    assert len(state["finished"]) == 5
    short = follow(halter, run[:4], state)[0]
    assert len(next_run(halter, short)["finished"]) == 5
