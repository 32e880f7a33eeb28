"""Backward induction: a put whose value is known, a choice that can be counted by hand, and dates with few paths."""

import numpy as np
import pytest

from satisfice.core.optimal_stopping import gains_of_stopping, stopped_at


def put(paths, dates, dice):
    """Prices of a share at the dates of a put: S0 = 36, K = 40, r = 6 %, sigma = 20 %, one year."""
    step = 1 / dates
    half = dice.standard_normal((paths // 2, dates))
    moves = (0.06 - 0.02) * step + 0.2 * np.sqrt(step) * np.vstack([half, -half])
    return 36 * np.exp(moves.cumsum(axis=1))


def powers(price):
    x = price / 40
    return np.stack([np.ones_like(x), x, x**2, x**3], axis=2)


def test_the_american_put_of_longstaff_and_schwartz_is_worth_what_it_is():
    dice = np.random.default_rng(0)
    price, discount = put(20_000, 50, dice), np.exp(-0.06 / 50)
    paid = np.maximum(40 - price, 0)
    weights = gains_of_stopping(paid, paid > 0, powers(price), np.zeros(len(price)), discount=discount)
    fresh = put(20_000, 50, dice)  # the rule on paths that it was not fitted on
    paid = np.maximum(40 - fresh, 0)
    at = stopped_at(powers(fresh), paid > 0, weights)
    some = at >= 0
    worth = np.zeros(len(fresh))
    worth[some] = paid[some, at[some]] * discount ** (at[some] + 1)
    error = worth.std() / np.sqrt(len(worth))
    assert worth.mean() == pytest.approx(4.478, abs=3 * error + 0.03)  # finite differences; the rule is a little below
    assert error < 0.025


def test_a_choice_that_can_be_counted():
    """Stopping pays 1 at once; going on costs 0.3 and pays 2 in one world of four, which is seen beforehand."""
    good = np.arange(400) % 4 == 0
    seen = np.stack([np.ones(400), good], axis=1)[:, None, :]
    weights = gains_of_stopping(
        np.ones((400, 1)), np.ones((400, 1), dtype=bool), seen, np.where(good, 2.0, 0.0), cost=0.3
    )
    assert weights[0] == pytest.approx([1.3, -2.0])  # gain of stopping: 1 + 0.3 elsewhere, 1 - 1.7 in the good world
    assert (stopped_at(seen, np.ones((400, 1)), weights) == np.where(good, -1, 0)).all()
    assert (stopped_at(seen, np.ones((400, 1)), weights, margin=2.0) == -1).all()


def test_a_date_with_few_paths_takes_the_weights_before_it():
    dice = np.random.default_rng(1)
    now, seen = dice.random((50, 3)), dice.random((50, 3, 2))
    may = np.ones((50, 3), dtype=bool)
    may[4:, 2] = False
    weights = gains_of_stopping(now, may, seen, dice.random(50), least=10, ridge=0.01)
    assert (weights[2] == weights[1]).all()
    assert weights[0] != pytest.approx(weights[1])


def test_without_paths_nobody_stops_before_they_must():
    weights = gains_of_stopping(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2, 1)), np.zeros(0))
    assert weights.shape == (2, 1)
    assert not weights.any()
