"""CEEH: a length to beat for each prompt, and entropy for the hard ones."""

import numpy as np
import pytest

from satisfice.core.shaper import advance
from satisfice.methods.shaping.ceeh import Ceeh, entropy_gain
from satisfice.testing import rollouts

LENGTHS = [800, 1000, 2000, 4000]
KNOWN = {"step": 0, "records": {"q": {"accuracy": 0.8, "length": 1000.0}}}


def batch_of(correct: list[int], length: list[int], entropy: float = 0.0) -> object:
    return rollouts(correct, length, prompt=["q"] * len(correct), entropy=np.full((len(correct), 2), entropy))


def test_worked_example() -> None:
    shaped = Ceeh()(batch_of([1] * 4, LENGTHS), KNOWN)
    assert shaped.reward == pytest.approx([1.1, 1.0, 0.5, 0.1])
    assert shaped.advantage[:, 0] == pytest.approx([0.425, 0.325, -0.175, -0.575])


@pytest.mark.parametrize(("shortest", "record"), [(800, 960), (1200, 1010)])
def test_worked_example_of_the_length_record(shortest: int, record: float) -> None:
    state = advance(Ceeh(), KNOWN, batch_of([1, 1], [shortest, 4000]))
    assert state["records"]["q"]["length"] == pytest.approx(record)


@pytest.mark.parametrize(("before", "right", "after"), [(0.8, [1, 0], 0.785), (0.4, [1, 1, 1, 1, 0], 0.48)])
def test_worked_example_of_the_accuracy_record(before: float, right: list[int], after: float) -> None:
    state = {"step": 0, "records": {"q": {"accuracy": before, "length": 1000.0}}}
    assert advance(Ceeh(), state, batch_of(right, [9] * len(right)))["records"]["q"]["accuracy"] == pytest.approx(after)


def test_worked_example_of_entropy_on_a_hard_prompt() -> None:
    hard = {"step": 0, "records": {"q": {"accuracy": -0.5, "length": 0.0}, "other": {"accuracy": 1.0, "length": 5.0}}}
    right = rollouts([1, 0, 0, 0, 0], prompt=["q"] * 5, entropy=np.tile([0.2, 1.5], (5, 1)))
    shaped = Ceeh()(right, hard)
    assert shaped.metrics["hard"] == 1
    assert shaped.advantage[0] == pytest.approx([0.8 + 0.08, 0.8 + 0.4])  # 0.4 * 1.5 is more than half of 0.8
    assert 0.6 + entropy_gain([0.6], [[0.2, 1.5]])[0] == pytest.approx([0.68, 0.90])


def test_the_first_visit_sets_the_record_and_feels_no_length_and_nothing_is_hard() -> None:
    batch = batch_of([1] * 4, LENGTHS, entropy=1.0)
    shaped = Ceeh()(batch)
    assert not shaped.advantage.any()
    assert advance(Ceeh(), Ceeh().init(), batch) == {"step": 1, "records": {"q": {"accuracy": 1.0, "length": 800.0}}}


def test_a_group_below_its_accuracy_record_feels_no_length() -> None:
    assert Ceeh()(batch_of([1, 1, 0, 0], LENGTHS), KNOWN).reward.tolist() == [1, 1, 0, 0]


def test_by_the_loss_hard_prompts_weigh_five_times_as_much() -> None:
    two = rollouts([0, 1], [2, 2], group=[0, 1], prompt=["q", "other"], entropy=np.ones((2, 2)))
    state = {"step": 0, "records": {"q": {"accuracy": 0.2, "length": 0.0}, "other": {"accuracy": 0.6, "length": 0.0}}}
    weight = Ceeh(explore="loss")(two, state).entropy_weight
    assert weight is not None
    assert weight == pytest.approx([5 / 3, 1 / 3])
    assert (Ceeh(explore="loss").loss.entropy, Ceeh().loss.entropy) == (0.001, 0)
