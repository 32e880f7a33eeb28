"""LASER-D: targets that follow difficulty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.shaper import advance, start
from satisfice.methods.shaping._laser import candidates, search_targets
from satisfice.methods.shaping.laser_d import LaserD
from satisfice.testing import random_rollouts, rollouts

GRID = candidates(1024, 16384, 1024)
MONITORED = [900, 1500, 1800, 2500, 3000, 3500, 4200, 5000, 7000, 9000]


def band_of(right: int, lengths: list[int]) -> object:
    """Ten groups of eight of which `right` are right, every group all of one length."""
    correct = np.tile(np.arange(8) < right, len(lengths))
    return rollouts(correct, np.repeat(lengths, 8), group=np.repeat(np.arange(len(lengths)), 8))


@pytest.mark.parametrize(("right", "band", "expected"), [(8, "high", 2048), (4, "medium", 3072), (1, "low", 9216)])
def test_worked_example_of_the_targets(right: int, band: str, expected: int) -> None:
    found = search_targets(band_of(right, MONITORED), GRID, expected=1, rounding="floor")
    assert found[band] == expected
    assert [target for name, target in found.items() if name != band] == [None, None]


def test_rounding_up_needs_fewer_rollouts_to_be_short() -> None:
    lengths = [900, 1500, 2500, 3500, 4500, 5500, 6500, 7500]  # with C = 5 two of eight must fit, with C = 6 too
    assert search_targets(band_of(8, lengths), GRID, expected=1, rounding="floor")["high"] == 2048
    assert search_targets(band_of(4, lengths), GRID, expected=1, rounding="floor")["medium"] == 4096  # C = 2: four
    assert search_targets(band_of(4, lengths), GRID, expected=1, rounding="ceil")["medium"] == 3072  # C = 3: three


def test_the_bands_of_monitoring_and_training_differ_at_their_edges() -> None:
    third = rollouts([1, 0, 0], [2000] * 3)
    assert search_targets(third, GRID, expected=1, rounding="floor") == {"high": None, "medium": None, "low": 2048}
    state = {"step": 0, "monitored": 0, "targets": {"high": 1, "medium": 2000, "low": 1}}
    assert LaserD()(third, state).reward[0] == 1.5, "1 of 3 is medium when it is trained on"


def test_worked_example_of_the_reward() -> None:
    state = {"step": 20, "monitored": 20, "targets": {"high": 2048, "medium": 3072, "low": None}}
    shaped = LaserD()(rollouts([1, 1, 1, 0], [1000, 2000, 4000, 3000]), state)
    assert shaped.reward.tolist() == [1.5, 1.5, 1.0, -0.5]
    assert shaped.advantage == pytest.approx([0.6603, 0.6603, 0.1321, -1.4527], abs=1e-4)


def test_without_a_target_the_longest_of_the_batch_is_short_enough() -> None:
    state = {"step": 20, "monitored": 20, "targets": {"high": None, "medium": None, "low": None}}
    assert LaserD()(rollouts([1, 1], [5, 10**6]), state).reward.tolist() == [1.5, 1.5]


def test_monitoring_is_due_every_so_many_steps_and_until_then_the_fallback_holds() -> None:
    rule = LaserD(every=2, lower=512)
    state, due = start(rule), []
    batch = random_rollouts(0)
    assert rule(rollouts([1, 1, 0], [8192, 8193, 9000]), state).reward[:2].tolist() == [1.5, 1.0]
    for _ in range(6):
        due.append(rule.monitor_due(state))
        if due[-1]:
            state = rule.monitor(state, batch)
        state = advance(rule, state, batch)
    assert due == [False, False, True, False, True, False]


def test_the_grid() -> None:
    assert candidates(512, 3072, 1024) == [512, 1024, 2048, 3072]
    assert candidates(2048, 4096, 1024) == [2048, 3072, 4096]


def test_a_right_rollout_that_was_cut_does_not_make_a_prompt_easier() -> None:
    batch = rollouts([1, 1, 0], [10, 50, 50], truncated=[0, 1, 0])
    state = {"step": 0, "monitored": 0, "targets": {"high": 5, "medium": 20, "low": 40}}
    assert LaserD()(batch, state).reward.tolist() == [1.5, -1, -0.5]


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_the_band_counts_full_scores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 9))
    correct, cut, formed = rng.random((3, size)) < 0.5
    columns = {"well_formed": formed} if seed % 2 else {}
    batch = rollouts(correct, rng.integers(1, 60, size), truncated=cut, **columns)
    full = correct & (formed if seed % 2 else ~cut)
    target = 5 if full.mean() >= 2 / 3 else 20 if full.mean() >= 1 / 3 else 40
    state = {"step": 0, "monitored": 0, "targets": {"high": 5, "medium": 20, "low": 40}}
    paid = LaserD()(batch, state).reward == 1.5
    assert paid.tolist() == (full & (batch.length <= min(target, batch.length.max()))).tolist()


def test_the_monitored_prompts_are_banded_by_full_scores_too() -> None:
    batch = rollouts([1] * 8, [900] * 8, truncated=[0, 0, 0] + [1] * 5)
    found = search_targets(batch, GRID, expected=1, rounding="floor")
    assert found == {"high": None, "medium": 1024, "low": None}
