"""Learning curves with their uncertainty: the exact posterior, and when it stops."""

import numpy as np
import pytest
from numpy.typing import NDArray

from satisfice.core.halter import Observation, follow, next_run
from satisfice.methods.halting.lc_pfn import LcPfn
from satisfice.methods.halting.prior import MEAN, SPREAD, Shapes, posterior


def drawn(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fresh curves of the prior at 20 places: places [20], values [count, 20], and where each ends [count]."""
    rng = np.random.default_rng(seed)
    shapes = Shapes.draw(count, rng)
    start, change = (MEAN + SPREAD * rng.standard_normal((count, 2))).T
    share = np.arange(1, 21) / 20
    clean = start[:, None] + change[:, None] * shapes.at(share)
    return share, clean + shapes.noise[:, None] * rng.standard_normal(clean.shape), start + change


def test_shapes_go_from_nought_to_one_and_only_rise() -> None:
    shapes = Shapes.draw(50, np.random.default_rng(0))
    values = shapes.at(np.linspace(0, 1, 30))
    assert values[:, 0] == pytest.approx(0)
    assert values[:, -1] == pytest.approx(1)
    assert (np.diff(values, axis=1) >= -1e-12).all()


def test_without_observations_the_posterior_is_the_prior() -> None:
    nothing = posterior([], [])
    assert nothing.weight @ nothing.mean == pytest.approx(MEAN.sum())
    assert nothing.sd == pytest.approx(np.hypot(*SPREAD))


def test_the_closed_form_is_what_integration_over_start_and_change_finds() -> None:
    """Brute force over a grid of start and change, every shape: the same mean of the end."""
    share, value = np.array([0.1, 0.3, 0.5]), np.array([0.42, 0.5, 0.55])
    rng = np.random.default_rng(1)
    from satisfice.methods.halting import prior

    few = Shapes.draw(40, rng)
    few = Shapes(**{**vars(few), "noise": np.maximum(few.noise, 0.02)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prior, "SHAPES", 40)
        patch.setattr(prior, "shapes", lambda: few)
        found = posterior(share, value)
    grid = [np.linspace(m - 5 * s, m + 5 * s, 400) for m, s in zip(MEAN, SPREAD, strict=True)]
    start, change = np.meshgrid(*grid, indexing="ij")
    density = np.exp(-0.5 * (((start - MEAN[0]) / SPREAD[0]) ** 2 + ((change - MEAN[1]) / SPREAD[1]) ** 2))
    total = weighted = 0.0
    for shape, noise in zip(few.at(share), few.noise, strict=True):
        error = value - (start[..., None] + change[..., None] * shape)
        likelihood = density * np.exp(-0.5 * (error**2).sum(-1) / noise**2) / noise**3
        total += likelihood.sum()
        weighted += (likelihood * (start + change)).sum()
    assert found.weight @ found.mean == pytest.approx(weighted / total, abs=1e-4)


def test_intervals_hold_what_they_promise() -> None:
    """200 fresh curves, cut after 3, 6 and 12 of 20 observations."""
    share, values, ends = drawn(200, 5)
    inside = []
    for value, end, seen in zip(values, ends, np.resize([3, 6, 12], 200), strict=True):
        found = posterior(share[:seen], value[:seen])
        inside.append(found.quantile(0.05) <= end <= found.quantile(0.95))
    assert 0.84 <= np.mean(inside) <= 0.96  # 90 % of 200: standard error 2 %


def test_it_stops_runs_that_will_not_be_the_best_and_keeps_the_one_that_will() -> None:
    halter = LcPfn(horizon=20)
    _share, values, ends = drawn(60, 9)
    good = [row for row in range(60) if 0 < ends[row] < 1][:20]
    state, spent, best, kept = halter.init(), 0, -np.inf, -1
    for row in good:
        run = [Observation(at=step, metrics={"accuracy": value}) for step, value in enumerate(values[row], 1)]
        state, seen, decision = follow(halter, run, state)
        state = next_run(halter, state)
        spent += len(seen)
        if not decision.stop and values[row][-1] > best:
            best, kept = values[row][-1], row
    assert spent < 0.7 * 20 * len(good)
    assert ends[kept] > max(ends[good]) - 0.02


def test_a_run_at_its_end_is_not_stopped_and_a_plateau_is() -> None:
    rise = [0.9 - 0.5 * step**-1.5 for step in range(1, 41)]
    run = [Observation(at=step, metrics={"accuracy": value}) for step, value in enumerate(rise, 1)]
    state = LcPfn(horizon=40).init()
    _, seen, decision = follow(LcPfn(horizon=40), run, {**state, "best": 0.95})
    assert decision.stop
    assert len(seen) < 20
    assert "with probability 0.0" in decision.why
    assert len(follow(LcPfn(horizon=40), run[:20], state)[1]) == 20  # it still rises
