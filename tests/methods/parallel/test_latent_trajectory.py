"""Latent trajectories: the three signals, segments as they come, and both selections."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.parallel.stage import begun, dropped, looks, play, stories

from satisfice.core.engine import Sampled
from satisfice.core.errors import BadInput
from satisfice.methods.parallel.latent_trajectory import LatentTrajectory, Way, trajectory
from satisfice.methods.stopping.fixed_budget import FixedBudget

STRAIGHT = np.array([[0, 0], [1, 0], [2, 1], [3, 1]])[:, None]
WANDERING = np.array([[0, 0], [2, 0], [1, 2], [1, 1]])[:, None]


@pytest.mark.parametrize(
    ("points", "net", "code", "cumulative", "aligned"),
    [(STRAIGHT, 0.7906, 1.0541, 3.4142, 0.9306), (WANDERING, 0.3536, 0.4714, 5.2361, 0.1054)],
)
def test_golden_values(points: np.ndarray, net: float, code: float, cumulative: float, aligned: float) -> None:
    found, by_code = trajectory(points), trajectory(points, divide_by="N-1")
    assert found is not None
    assert by_code is not None
    assert [round(x, 4) for x in found] == [net, cumulative, aligned]
    assert by_code.net == pytest.approx(code, abs=1e-4)


def test_one_segment_has_no_signal_and_no_movement_is_no_direction() -> None:
    assert trajectory(STRAIGHT[:1]) is None
    still = trajectory(np.ones((3, 2, 4)))
    assert still is not None
    assert tuple(still) == (0.0, 0.0, 0.0)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=12), st.integers(1, 5))
def test_segments_do_not_depend_on_how_the_tokens_came(cuts: list[int], segment: int) -> None:
    states = np.random.default_rng(sum(cuts)).normal(size=(sum(cuts), 3)).astype(np.float32)
    way, begin = Way(segment), 0
    for n in cuts:
        part = states[begin : begin + n]
        way.add(Sampled(ids=tuple(range(n)), reason="length", cut=0, hidden={1: part, 2: 2 * part}))
        begin += n
    means = [states[i : i + segment].mean(axis=0) for i in range(0, len(states), segment)]
    assert np.allclose(way.points[:, 0], means, atol=1e-5)
    assert np.allclose(way.points[:, 1], 2 * np.array(means), atol=1e-5)


TOLD = ["a b c d " * 6 + "</think>1", "e f g h " * 9 + "</think>2", "i j k l " * 12 + "</think>3"]


@pytest.mark.parametrize(("signal", "pick"), [("aligned", max), ("net", max), ("cumulative", min)])
def test_early_the_chain_with_the_best_signal_goes_on(signal: str, pick: object) -> None:
    rule = LatentTrajectory(n=3, signal=signal, look_at=16, segment=4)  # type: ignore[arg-type]
    solution, _ = play(rule, stories(*TOLD))
    best = looks(solution).index(pick(looks(solution)))  # type: ignore[operator]
    assert (solution.chain, solution.text) == (str(best), str(best + 1))
    assert solution.ledger.dropped == 2 * 16
    assert sorted([*dropped(solution), solution.chain]) == ["0", "1", "2"]


def test_a_chain_too_short_for_a_signal_goes_on_only_when_all_are() -> None:
    rule = LatentTrajectory(n=3, look_at=16, segment=4)
    solution, _ = play(rule, stories("a</think>1", TOLD[1], "b</think>3"))
    assert (solution.chain, solution.text) == ("1", "2")
    every, _ = play(LatentTrajectory(n=3), stories(*TOLD))
    assert (every.chain, every.text) == ("0", "1")


def test_accept_takes_the_first_that_is_good_enough_and_asks_no_more() -> None:
    solution, _ = play(LatentTrajectory(mode="accept", n=3, threshold=-1.5, segment=4), stories(*TOLD))
    assert (solution.text, begun(solution)) == ("1", ["0"])
    lazy = LatentTrajectory(mode="accept", n=3, threshold=0.0, signal="cumulative", segment=4)
    assert begun(play(lazy, stories(*TOLD))[0]) == ["0", "1", "2"], "below, for cumulative"


def test_after_n_that_were_not_good_enough_the_majority_decides() -> None:
    told = ["a b c d " * 6 + "</think>1", "e f g h " * 6 + "</think>2", "i j k l " * 6 + "</think>2"]
    solution, _ = play(LatentTrajectory(mode="accept", n=3, threshold=1.5, segment=4), stories(*told))
    assert (solution.text, solution.chain) == ("2", "1")
    assert solution.ledger.steps == solution.ledger.spent, "one after another"


def test_the_answer_is_no_part_of_the_way() -> None:
    rule = LatentTrajectory(mode="accept", n=1, threshold=1.5, segment=4)
    short, _ = play(rule, stories("a b c d e</think>1"))
    long, _ = play(rule, stories("a b c d e</think>1 and that is all there is to say"))
    assert looks(short)[0] == looks(long)[0]


def test_accept_needs_a_threshold() -> None:
    with pytest.raises(BadInput, match="needs a threshold"):
        LatentTrajectory(mode="accept")


def test_chains_follow_the_inner_rule() -> None:
    rule = LatentTrajectory(n=3, look_at=8, segment=4, stop=FixedBudget(tokens=12))
    solution, _ = play(rule, stories(*TOLD))
    assert (solution.text, solution.ledger.kept) == ("cut", 12 + 2)
