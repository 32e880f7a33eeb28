"""O1-Pruner: shorter and righter than the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.methods.shaping.o1_pruner import O1Pruner
from satisfice.testing import rollouts

LENGTHS = [1000, 2000, 4000, 3000]
G4 = rollouts(correct=[1, 1, 1, 0], length=LENGTHS)


@pytest.mark.parametrize(
    ("alpha", "weights", "advantage"),
    [
        (5, [2.75, 1.5, 0.875, -2.0], [1.1302, 0.4126, 0.0538, -1.5967]),  # the last was -3.9167 before the clip
        (2, [2.0, 0.75, 0.125, -1.6667], [1.2843, 0.3388, -0.1339, -1.4892]),
    ],
)
def test_worked_example(alpha: float, weights: list[float], advantage: list[float]) -> None:
    rule = O1Pruner(alpha=alpha)
    assert rule.weigh(G4) == pytest.approx(weights, abs=1e-4)
    assert rule(G4).advantage == pytest.approx(advantage, abs=1e-4)


def test_the_reference_may_be_another_policy() -> None:
    batch = rollouts([1, 0], [100, 300], reference_length=[400, 400], reference_accuracy=[0.5, 0.5])
    assert O1Pruner(reference="columns", alpha=1).weigh(batch).tolist() == [3.5, pytest.approx(400 / 300 - 1.5)]


def test_it_is_standardised_over_the_whole_batch_and_not_by_group() -> None:
    shaped = O1Pruner()(rollouts([1, 0, 0, 0], [10, 20, 10, 30], group=[0, 0, 1, 1]))
    assert (shaped.advantage.mean(), shaped.advantage.std()) == (pytest.approx(0), pytest.approx(1))
    assert shaped.advantage[2] > shaped.advantage[3], "where all are wrong the shortest wins"


def test_nothing_to_tell_apart_and_nothing_sampled() -> None:
    assert not O1Pruner()(rollouts([1, 1], [7, 7])).advantage.any()
    assert np.isfinite(O1Pruner()(rollouts([0, 1], [0, 7])).advantage).all()


def test_the_loss_clips_whole_sequences() -> None:
    loss = O1Pruner().loss
    assert (loss.ratio, loss.aggregation, loss.clip_low, loss.clip_high) == ("sequence", "sequence", 0.2, 0.2)
    with pytest.raises(BadInput, match="o1-pruner: low must be below high"):
        O1Pruner(low=5)


@pytest.mark.parametrize("used", [1, 2, 3])
def test_what_is_used_is_standardised_and_the_reference_is_the_whole_group(used: int) -> None:
    rng = np.random.default_rng(used)
    length, correct = rng.permutation(np.arange(100, 1300, 100)), rng.random(12) < 0.5
    batch = rollouts(correct, length, np.repeat([0, 1], 6))
    shaped = O1Pruner(used=used)(batch)
    assert [int(shaped.keep[:6].sum()), int(shaped.keep[6:].sum())] == [used, used]
    weight = O1Pruner().weigh(batch)[shaped.keep]  # lengths and accuracies of all six stand in these
    assert shaped.advantage[shaped.keep] == pytest.approx((weight - weight.mean()) / weight.std())
    order = rng.permutation(12)
    assert O1Pruner(used=used)(batch.take(order)).keep.tolist() == shaped.keep[order].tolist()


def test_the_choice_changes_with_the_tokens() -> None:
    keep = {
        tuple(O1Pruner(used=1)(rollouts([1] * 4, ids=np.full((4, 3), seed) + np.arange(4)[:, None])).keep.tolist())
        for seed in range(30)
    }
    assert len(keep) == 4, "each rollout is drawn now and then"


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_the_rows_used_are_weighed_as_the_released_script_weighs_its_data_set(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, size, used = int(rng.integers(1, 5)), int(rng.integers(2, 13)), int(rng.integers(1, 3))
    correct, length = rng.random(groups * size) < 0.5, rng.integers(1, 500, groups * size)
    shaped = O1Pruner(used=used)(rollouts(correct, length, np.repeat(np.arange(groups), size)))
    weights = []
    for g in range(groups):
        rows = range(g * size, (g + 1) * size)
        mean_length, accuracy = sum(length[i] for i in rows) / size, sum(bool(correct[i]) for i in rows) / size
        for i in rows:
            if shaped.keep[i]:
                weight = (mean_length - length[i]) / length[i] + 5 * (int(correct[i]) - accuracy)
                weights.append(min(max(weight, -2), 4))
    assert len(weights) == groups * used
    if np.std(weights) > 1e-9:
        assert shaped.advantage[shaped.keep] == pytest.approx((weights - np.mean(weights)) / np.std(weights))
