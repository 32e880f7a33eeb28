"""Bingo: meaningless tokens cost, meaningful ones first pay."""

import numpy as np
import pytest

from satisfice.core.shaper import advance, start
from satisfice.methods.shaping.bingo import Bingo
from satisfice.testing import rollouts

BATCH = rollouts(
    [1, 1, 0, 0],
    insignificant=[50, 120, 80, 80],
    reference_insignificant=[100] * 4,
    significant=[80, 110, 130, 60],
    reference_significant=[100] * 4,
)


@pytest.mark.parametrize(
    ("k", "expected"),
    [(None, [5.3879, 2.8118, -1.4686, -3.6967]), (-1.5, [5.3879, 2.8118, -7.5566, -6.5066])],
)
def test_worked_example(k: float | None, expected: list[float]) -> None:
    rule = Bingo()
    assert rule.first_k == pytest.approx(3.1831, abs=1e-4)
    assert rule.reward(BATCH, rule.first_k if k is None else k) == pytest.approx(expected, abs=1e-4)


def test_worked_example_compared_within_a_group() -> None:
    assert Bingo()(BATCH).advantage == pytest.approx([1.1288, 0.5006, -0.5431, -1.0864], abs=1e-4)


def test_worked_example_of_the_coefficient() -> None:
    rule = Bingo()
    first = rule.follow(0.004, scale=None, decayed=0)
    assert (first["k"], first["decayed"]) == (pytest.approx(3.1831, abs=1e-4), 0)
    slower = rule.follow(0.003, scale=first["scale"], decayed=0)
    assert (slower["k"], slower["decayed"]) == (-0.5, 1)  # 2.3873 is below the threshold
    floor = rule.follow(0.0, scale=first["scale"], decayed=40)
    assert floor["k"] == pytest.approx(-6.3662, abs=1e-4)
    assert rule.follow(0.0, scale=None, decayed=0)["scale"] == rule.first_k


def test_the_coefficient_waits_and_then_follows_the_slope_of_the_rewards() -> None:
    rule = Bingo(begin=4, window=3)
    state, told = start(rule), []
    for reward in (0.0, 0.9, 0.1, 0.2, 0.3, 0.3, 0.3):
        state = advance(rule, state, BATCH.rewarded(np.full(4, reward)))
        told.append(round(state["k"], 4))
    # steps 1 to 3: k_0; the window then holds .9 .1 .2, slope -0.35; .1 .2 .3, slope 0.1; .2 .3 .3; .3 .3 .3
    assert told == [3.1831] * 3 + [-0.5, -1.0, -1.5, -2.0]
    assert len(state["scores"]) == 3


def test_a_reference_without_tokens_of_a_kind_gives_a_ratio_of_0() -> None:
    nothing = {"reference_insignificant": [0, 0], "reference_significant": [0, 0]}
    batch = rollouts([1, 0], insignificant=[50, 50], significant=[9, 9], **nothing)
    assert Bingo()(batch).reward.tolist() == [6, -5]


def test_a_right_rollout_always_beats_a_wrong_one() -> None:
    rng = np.random.default_rng(0)
    counts = {name: rng.integers(0, 500, 40) for name in ("significant", "insignificant")}
    batch = rollouts(np.arange(40) % 2, reference_significant=[100] * 40, reference_insignificant=[100] * 40, **counts)
    reward = Bingo()(batch).reward
    assert reward[batch.correct].min() >= 1
    assert reward[~batch.correct].max() <= 0
