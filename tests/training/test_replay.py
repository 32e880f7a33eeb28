"""Remembered rollouts among new ones: which rows they take, what they weigh, whose log-probabilities they bring."""

import numpy as np
import pytest

from satisfice.core.shaper import Loss
from satisfice.methods.shaping.grpo import Grpo
from satisfice.testing import rollouts
from satisfice.training.replay import picked, silent_rows, with_memories
from satisfice.training.shares import weighed

MEMORIES = [
    ({"prompt": "p", "ids": [1, 2], "logprob": [-0.1, -0.2]}, 2.0),
    ({"prompt": "q", "ids": [3] * 6, "logprob": [-1] * 6}, 0.5),
]


def test_groups_that_are_all_right_or_all_wrong_are_silent() -> None:
    batch = rollouts([1, 1, 0, 0, 1, 0], group=[0, 0, 1, 1, 2, 2])
    assert silent_rows(batch, Grpo()(batch)) == [0, 1, 2, 3]


def test_no_rollout_is_replayed_twice_and_the_choice_is_the_same_for_every_process() -> None:
    assert [memory["prompt"] for memory, _ in picked(MEMORIES, 5, seed=3)] in (["p", "q"], ["q", "p"])
    assert picked(MEMORIES, 1, seed=3) == picked(MEMORIES, 1, seed=3)
    assert picked([], 3, seed=0) == []


@pytest.mark.parametrize("aggregation", ["token", "sequence"])
def test_their_loss_is_a_mean_of_its_own_beside_that_of_the_batch(aggregation: str) -> None:
    loss = Loss(aggregation=aggregation)  # type: ignore[arg-type]
    batch = rollouts([1, 1, 1, 0], group=[0, 0, 1, 1], mask=np.ones((4, 4)))
    parts = weighed(loss, 99, 4, range(4), batch, Grpo()(batch))
    found = with_memories(parts, {0: MEMORIES[0], 1: MEMORIES[1]}, [m for m, _ in MEMORIES], loss, 99, weight=0.25)
    assert {values.shape for values in found.values()} == {(4, 6)}  # as wide as the longest of all
    assert found["share"][:2].sum() == pytest.approx(0.25)
    assert found["share"][2:, :4] == pytest.approx(parts["share"][2:])
    each = [2 / 8, 6 / 8] if aggregation == "token" else [0.5, 0.5]
    assert found["share"][:2].sum(1) == pytest.approx(0.25 * np.array(each))
    assert found["advantage"][0].tolist() == [2, 2, 0, 0, 0, 0]
    assert found["behaviour"][0, :2].tolist() == [-0.1, -0.2]
    assert np.isnan(found["behaviour"][2:]).all()
    assert not found["plain_share"][:2].any()


def test_a_process_that_holds_some_of_the_places_averages_over_all_that_is_replayed() -> None:
    batch = rollouts([1, 1], mask=np.ones((2, 4)))
    parts = weighed(Loss(), 99, 2, range(2), batch, Grpo()(batch))
    found = with_memories(parts, {1: MEMORIES[1]}, [m for m, _ in MEMORIES], Loss(), 99, weight=1.0)
    assert found["share"][1].sum() == pytest.approx(6 / 8)
