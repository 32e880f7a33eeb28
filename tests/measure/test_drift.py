"""The watch over the traffic: false alarms over its whole life, how soon it notices a turn, and ties."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, kstest

from satisfice.core.errors import BadInput
from satisfice.measure.drift import BINS, Drift, Reference, first_look


def watched(reference, values, dice, doubt=0.05):
    watch = Drift(reference=Reference.of(reference), doubt=doubt)
    for value in values:
        watch = watch.seen(float(value), float(dice.random()))
        if watch.drifted:
            break
    return watch


@pytest.mark.parametrize("kind", ["spread", "a few values"])
def test_false_alarms_over_a_long_life(kind):
    dice = np.random.default_rng(3)
    runs, alarms = 60, 0
    for _ in range(runs):
        draw = dice.lognormal if kind == "spread" else lambda size: dice.integers(0, 4, size=size)
        alarms += watched(draw(size=150), draw(size=1500), dice, doubt=0.1).drifted
    assert alarms <= binom.ppf(0.9999, runs, 0.1)


def test_a_turn_is_noticed_soon_and_its_direction_told():
    dice = np.random.default_rng(4)
    for sign, direction in ((1, "higher"), (-1, "lower")):
        values = np.concatenate([dice.normal(size=300), dice.normal(loc=sign * 1.5, size=300)])
        watch = watched(dice.normal(size=300), values, dice)
        assert watch.direction == direction
        assert 300 < watch.requests < 360


def test_while_nothing_drifts_nothing_is_told():
    assert watched(range(100), [50], np.random.default_rng(0)).direction == ""


def test_shares_are_uniform_however_many_values_are_equal():
    """The conformal share of each request among all before it, read off the wealth of one who bets on it."""
    dice = np.random.default_rng(5)
    watch, shares = Drift(reference=Reference.of(dice.integers(0, 3, 40))), []
    for value in dice.integers(0, 3, 1500):
        after = watch.seen(float(value), float(dice.random()))
        low, none, high = watch.wealth
        kept = 0.99 * high + 0.01 * (low + none + high) / 3
        shares.append(after.wealth[2] / kept - 0.5)
        watch = Drift(reference=watch.reference, seen_counts=after.seen_counts)
    assert kstest(shares, "uniform").pvalue > 0.001


def test_its_state_is_json_and_goes_on_from_there():
    watch = Drift(reference=Reference.of(range(50))).seen(3, 0.2)
    row = json.loads(json.dumps(asdict(watch)))
    reference = Reference(**{name: tuple(values) for name, values in row.pop("reference").items()})
    row |= {"seen_counts": tuple(row["seen_counts"]), "wealth": tuple(row["wealth"])}
    assert Drift(reference=reference, **row) == watch


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_a_reference_counts_every_value_once(values):
    reference = Reference.of([*values, math.nan])
    assert sum(reference.counts) == len(values)
    assert len(reference.counts) == len(reference.edges) + 1 <= BINS + 1


def test_values_that_are_none_and_references_without_values_change_nothing():
    watch = Drift(reference=Reference.of([1.0, 2.0]))
    assert watch.seen(math.nan, 0.5) is watch
    empty = Drift(reference=Reference.of([math.nan]))
    assert empty.seen(1.0, 0.5) is empty


@pytest.mark.parametrize(("edges", "counts"), [((2.0, 1.0), (1, 1, 1)), ((1.0,), (1,)), ((), (-1,))])
def test_a_reference_that_is_none_is_refused(edges, counts):
    with pytest.raises(BadInput, match="rising edges"):
        Reference(edges=edges, counts=counts)


@dataclass
class Told:
    kind: str
    at: int
    data: dict[str, Any]


def test_the_first_look_is_the_first():
    log = [Told("chain", 0, {}), Told("look", 7, {"value": 0.5}), Told("look", 9, {"value": 0.9})]
    assert first_look(log) == (7.0, 0.5)
    assert all(math.isnan(one) for one in first_look(log[:1]))
