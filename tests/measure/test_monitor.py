"""The monitor: false alarms over its whole life, how soon it finds a broken promise, and that it is what it says."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from satisfice.core.errors import BadInput
from satisfice.measure.monitor import BETS, Monitor, SavingWatch, evidence, lower_bound


def first_alarm(losses, most, doubt=0.05):
    """Return after how many comparisons the evidence first reaches the line, None: never; by whole arrays."""
    compared = np.arange(1, len(losses) + 1)
    lost = np.cumsum(losses)
    bets = (BETS / most)[:, None]
    logs = lost * np.log1p(bets * (1 - most)) + (compared - lost) * np.log1p(-bets * most)
    over = np.exp(np.minimum(logs, 700)).mean(axis=0) >= 1 / doubt
    return int(np.argmax(over)) + 1 if over.any() else None


def test_by_arrays_is_one_by_one():
    losses = np.random.default_rng(4).random(400) < 0.05
    watched, alarm = Monitor(most=0.02), None
    for at, lost in enumerate(losses, 1):
        watched = watched.seen(bool(lost))
        if watched.broken and alarm is None:
            alarm = at
    assert alarm == first_alarm(losses, 0.02)


@pytest.mark.parametrize("most", [0.01, 0.02, 0.05])
def test_false_alarms_over_a_long_life(most):
    dice = np.random.default_rng(7)
    runs = 300
    alarms = sum(first_alarm(dice.random(8000) < most, most) is not None for _ in range(runs))
    assert alarms <= binom.ppf(0.9999, runs, 0.05)


def test_twice_what_was_promised_is_found_soon():
    dice = np.random.default_rng(8)
    found = [first_alarm(dice.random(6000) < 0.04, 0.02) or 6000 for _ in range(201)]
    assert np.median(found) <= 800


@given(st.integers(0, 60), st.integers(0, 200), st.sampled_from([0.005, 0.02, 0.1]))
def test_evidence_is_a_fair_game(lost, kept, most):
    """What one owns is the mean of what one owns after the next comparison, at a share of exactly `most`."""
    compared = lost + kept
    now = evidence(lost, compared, most)
    after = most * evidence(lost + 1, compared + 1, most) + (1 - most) * evidence(lost, compared + 1, most)
    assert after == pytest.approx(now, rel=1e-9)
    assert evidence(lost, compared + 1, most) <= now + 1e-12  # no loss is no evidence


def test_the_bound_holds_at_all_times_as_often_as_said():
    dice = np.random.default_rng(9)
    missed, runs = 0, 100
    for _ in range(runs):
        lost = np.cumsum(dice.random(1500) < 0.05)
        missed += any(lower_bound(int(lost[n - 1]), n) > 0.05 for n in (50, 100, 200, 400, 800, 1500))
    assert missed <= binom.ppf(0.9999, runs, 0.05)


def test_its_state_is_json_and_goes_on_from_there():
    watched = Monitor(most=0.02).seen(True).seen(False)
    again = Monitor(**json.loads(json.dumps(asdict(watched))))
    assert again == watched
    assert again.seen(True) == watched.seen(True)


def test_a_broken_promise_stays_broken_and_says_so():
    watched = Monitor(most=0.02)
    for _ in range(8):
        watched = watched.seen(True)
    assert watched.broken
    for _ in range(500):
        watched = watched.seen(False)
    assert watched.broken
    assert str(watched).startswith("broken: 8 of 508 lost")


@pytest.mark.parametrize("most", [0.0, 1.0, -1.0])
def test_a_share_that_is_none_is_refused(most):
    with pytest.raises(BadInput, match="most must lie between 0 and 1"):
        Monitor(most=most)


def test_a_savings_interval_holds_at_all_times_as_often_as_said():
    """Alone and in pairs, from the 100th request on: the interval is one for many requests."""
    dice = np.random.default_rng(11)
    missed, runs = 0, 60
    for run in range(runs):
        watch, share = SavingWatch(), 0.2
        for n, cost in enumerate(dice.gamma(4.0, 25.0, size=1000), 1):
            if run % 2:
                watch = watch.pair(cost, 0.6 * cost * dice.uniform(0.5, 1.5))
            else:
                full = bool(dice.random() < share)
                watch = watch.alone(cost if full else 0.6 * cost, is_full=full, share=share)
            if n in (100, 200, 400, 700, 1000) and watch.excludes(0.4):
                missed += 1
                break
    assert missed <= binom.ppf(0.9999, runs, 0.05)


def test_a_savings_interval_narrows_and_excludes_what_is_outside():
    watch = SavingWatch()
    assert watch.interval() == (-np.inf, 1.0)
    dice, widths = np.random.default_rng(12), []
    for n in range(1, 2001):
        watch = watch.pair(float(dice.gamma(4.0, 25.0)), float(dice.gamma(4.0, 10.0)))
        if n in (200, 2000):
            low, high = watch.interval()
            widths.append(high - low)
            assert watch.excludes(low - 1e-6)
            assert watch.excludes(high + 1e-6)
            assert not watch.excludes(watch.saving)
    assert widths[1] < widths[0] / 2
    assert watch.interval()[0] < 0.6 < watch.interval()[1]
