"""Warnings before a tipping point: the statistics, the fold bifurcation, and how often a warning is false."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kendalltau

from satisfice.core.halter import Observation, follow
from satisfice.methods.halting.early_warning_signals import (
    EarlyWarningSignals,
    detrended,
    kendall_trend,
    rolling,
    surrogates,
    warning,
)


def fold(steps: int, *, drifting: bool, seed: int, dt: float = 0.1, noise: float = 0.1) -> NDArray[np.float64]:
    """A path of dx = (r + x - x^3) dt + noise dW, r drifting towards the fold at -2 / (3 sqrt 3), or fixed."""
    rng = np.random.default_rng(seed)
    levels = np.linspace(0.5, -0.95 * 2 / (3 * np.sqrt(3)), steps) if drifting else np.full(steps, 0.5)
    x, path = 1.2, np.empty(steps)
    for step, level in enumerate(levels):
        x += (level + x - x**3) * dt + noise * np.sqrt(dt) * rng.standard_normal()
        path[step] = x
    return path


def test_the_trend_is_kendalls() -> None:
    for values in np.random.default_rng(0).standard_normal((5, 12)):
        assert kendall_trend(values) == pytest.approx(kendalltau(np.arange(12), values).statistic)


def test_the_rolling_statistics_are_those_of_each_window() -> None:
    values = np.random.default_rng(1).standard_normal(30)
    variance, correlation = rolling(values, 10)
    part = values[5:15] - values[5:15].mean()
    assert variance[5] == pytest.approx(part.var(ddof=1))
    assert correlation[5] == pytest.approx((part[1:] * part[:-1]).sum() / (part**2).sum())
    assert rolling(np.zeros(12), 6)[1].tolist() == [0.0] * 7


def test_a_line_is_detrended_and_a_constant_gives_no_warning() -> None:
    assert np.abs(detrended(np.linspace(0, 1, 50), 0.05)[10:-10]).max() < 1e-3
    assert warning([0.3] * 40) == {"variance": (0.0, 1.0), "autocorrelation": (0.0, 1.0)}


def test_surrogates_have_the_correlation_and_variance_of_the_series() -> None:
    series = surrogates(np.zeros(5), 3)
    assert not series.any()
    rng = np.random.default_rng(2)
    long = [0.0]
    for _ in range(4_000):
        long.append(0.7 * long[-1] + rng.standard_normal())
    made = surrogates(long, 5)
    assert made.var() == pytest.approx(np.var(long), rel=0.15)
    assert float(np.mean([rolling(row, len(row))[1][0] for row in made])) == pytest.approx(0.7, abs=0.05)


def test_the_fold_slows_down_before_it_tips_and_a_single_run_proves_little() -> None:
    """20 seeds: the autocorrelation rises towards the fold; without a drift its trend has no sign, but is wide."""
    trends = {
        drifting: [
            warning(fold(300, drifting=drifting, seed=seed), count=1)["autocorrelation"][0] for seed in range(20)
        ]
        for drifting in (True, False)
    }
    assert np.median(trends[True]) > 0.5
    assert abs(np.median(trends[False])) < 0.3
    assert np.quantile(trends[False], 0.95) > 0.3  # so a rise alone is no warning: surrogates are needed


def test_false_alarms_are_as_frequent_as_stated_and_drifts_are_found_more_often() -> None:
    """40 runs each, one test at the end: at a doubt of 0.1 some 4 false alarms are expected."""
    found = {
        drifting: sum(
            warning(fold(200, drifting=drifting, seed=seed), count=40)["autocorrelation"][1] < 0.1 for seed in range(40)
        )
        for drifting in (True, False)
    }
    assert found[False] <= 10
    assert found[True] >= 2 * max(found[False], 4)


def test_it_waits_for_enough_observations_and_then_says_what_it_saw() -> None:
    path = fold(200, drifting=True, seed=0)
    run = [Observation(at=step, metrics={"accuracy": value}) for step, value in enumerate(path)]
    halter = EarlyWarningSignals(least=150, doubt=0.5, statistic="variance")
    _state, seen, decision = follow(halter, run)
    assert len(seen) >= 150
    assert decision.stop
    assert decision.metrics["p"] < 0.5
    assert "slow down" in decision.why
