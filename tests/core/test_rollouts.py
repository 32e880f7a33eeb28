"""Batches of rollouts, statistics within groups, and what a loss asks for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.core.rollouts import ENTROPY, PROMPT, Column, Groups, Rollouts
from satisfice.core.shaper import Loss, Shaped
from satisfice.testing import random_rollouts, rollouts


def test_what_is_left_out_has_plain_defaults() -> None:
    batch = rollouts(correct=[1, 0], length=[3, 4])
    assert (batch.reward.tolist(), batch.truncated.tolist()) == ([1.0, 0.0], [False, False])
    assert batch.prompt is None
    with pytest.raises(BadInput, match="remembers prompts"):
        batch.prompts()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"length": [1, 2, 3]}, "correct must have one value a rollout: shape \\(3,\\), got \\(2,\\)"),
        ({"length": [1, -2]}, "none negative"),
        ({"length": [1, 2.5]}, "whole numbers"),
        ({"correct": [1, 2]}, "correct must be 0 or 1. Leave out rows whose verdict is unknown"),
        ({"correct": [1, np.nan]}, "correct must be finite"),
        ({"reward": [1, np.inf]}, "reward must be finite"),
        ({"group": [0.5, 1.5]}, "group must have one whole number or text"),
        ({"truncated": ["yes", "no"]}, "truncated must hold numbers"),
        ({"budget": [1]}, "budget must have one value"),
        ({"entropy": [[1, 2]]}, r"entropy has \(1, 2\), B is 2"),
    ],
)
def test_bad_batches_are_refused_by_name(part: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        rollouts(**{"correct": [1, 0], "length": [3, 4], **part})


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(BadInput, match="at least one rollout"):
        rollouts(correct=[], length=[])


def test_a_column_that_is_not_there_says_where_it_belongs() -> None:
    batch = rollouts(correct=[1], score=[0.5])
    assert batch["score"].tolist() == [0.5]
    with pytest.raises(BadInput, match=r"no 'budget'\. Give it .*columns=\{'budget': \.\.\.\}\), or tokens="):
        batch["budget"]


def test_a_batch_cannot_be_written_through_and_leaves_its_source_alone() -> None:
    length = np.array([3, 4])
    batch = Rollouts(group=np.zeros(2, int), correct=np.ones(2, bool), length=length)
    with pytest.raises(ValueError, match="read-only"):
        batch.length[0] = 1
    length[0] = 5


def test_take_takes_every_column() -> None:
    batch = random_rollouts(0, columns=(Column("budget", "tokens"), ENTROPY, PROMPT))
    some = batch.take([3, 0])
    assert some["budget"].tolist() == batch["budget"][[3, 0]].tolist()
    assert some["entropy"].shape == (2, 6)
    assert some.prompts() == [batch.prompts()[3], batch.prompts()[0]]
    assert len(batch.take(batch.correct)) == batch.correct.sum()


def test_summary_of_a_batch() -> None:
    told = rollouts([1, 1, 0, 1], [10, 20, 60, 40], [0, 0, 1, 0], truncated=[0, 0, 1, 0]).summary()
    assert told == {
        "length_right": pytest.approx(70 / 3), "length_wrong": 60, "length": 32.5, "accuracy": 0.75,
        "truncated": 0.25, "groups_all_right": 0.5, "groups_all_wrong": 0.5,
    }  # fmt: skip
    assert "length_wrong" not in rollouts([1, 1]).summary()


def test_statistics_do_not_need_rows_of_a_group_to_be_neighbours() -> None:
    groups = Groups([5, 9, 5, 9, 5])
    values = np.array([1.0, 10.0, 2.0, 20.0, 6.0])
    assert groups.mean(values).tolist() == [3, 15, 3, 15, 3]
    assert groups.total(values).tolist() == [9, 30, 9, 30, 9]
    assert groups.size.tolist() == [3, 2, 3, 2, 3]
    assert (groups.min(values)[0], groups.max(values)[0]) == (1, 6)
    assert groups.std(values, ddof=1)[[0, 1]] == pytest.approx([np.std([1, 2, 6], ddof=1), np.std([10, 20], ddof=1)])
    assert [rows.tolist() for rows in groups] == [[0, 2, 4], [1, 3]]
    assert groups.first.tolist() == [0, 1]


def test_where_says_which_rows_count_and_empty_what_is_left_without_any() -> None:
    groups = Groups([0, 0, 1])
    where = np.array([True, False, False])
    assert groups.mean([4, 8, 9], where).tolist() == [4, 4, 0]
    assert groups.min([4, 2, 9], where, empty=7).tolist() == [4, 4, 7]
    assert groups.max([4, 8, 9], where, empty=-1).tolist() == [4, 4, -1]
    assert groups.std([4, 8, 9], where, ddof=1).tolist() == [0, 0, 0], "one row has no sample deviation"
    assert groups.any(where).tolist() == [True, True, False]
    assert groups.all([1, 1, 0]).tolist() == [True, True, False]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1e6, 1e6), st.booleans()), min_size=1, max_size=30),
    st.integers(0, 1),
)
def test_statistics_equal_numpy_on_each_group(rows: list[tuple[str, float, bool]], ddof: int) -> None:
    labels, x, where = (np.array(column) for column in zip(*rows, strict=True))
    groups = Groups(labels)
    for label in set(labels):
        own = x[(labels == label) & where]
        at = int(np.flatnonzero(labels == label)[0])
        expected = own.std(ddof=ddof) if len(own) > ddof else 0.0
        assert groups.std(x, where, ddof=ddof)[at] == pytest.approx(expected, abs=1e-6)
        assert groups.mean(x, where)[at] == pytest.approx(own.mean() if len(own) else 0.0, abs=1e-6)
        assert groups.max(x, where, empty=-1)[at] == (own.max() if len(own) else -1)
        assert groups.min(x, where, empty=-1)[at] == (own.min() if len(own) else -1)


MASK = np.array([[1, 1, 1, 1], [1, 0, 0, 0]])


@pytest.mark.parametrize(
    ("loss", "first", "second"),
    [
        (Loss(aggregation="token"), 1 / 5, 1 / 5),
        (Loss(aggregation="sequence"), 1 / 8, 1 / 2),
        (Loss(aggregation="constant", constant=16), 1 / 32, 1 / 32),
        (Loss(aggregation="constant"), 1 / 8, 1 / 8),
    ],
)
def test_how_much_a_token_weighs(loss: Loss, first: float, second: float) -> None:
    share = loss.share(MASK)
    assert share[0].tolist() == [first] * 4
    assert share[1].tolist() == [second, 0, 0, 0]


@pytest.mark.parametrize("aggregation", ["token", "sequence", "constant"])
def test_rollouts_that_are_not_kept_leave_the_denominator(aggregation: str) -> None:
    loss = Loss(aggregation=aggregation, constant=8)
    assert loss.share(MASK, keep=[0, 1])[1].tolist() == loss.share(MASK[1:])[0].tolist()
    assert not loss.share(MASK, keep=[0, 0]).any()


def test_dual_clip_bounds_the_loss_of_bad_tokens() -> None:
    assert Loss(dual_clip=3).token_loss([9.0, 9.0, 2.0], [-1, 1, -1]).tolist() == [3.0, -1.2, 2.0]


def test_shaped_refuses_what_a_trainer_could_not_use() -> None:
    with pytest.raises(BadInput, match="advantage must be finite"):
        Shaped(advantage=np.array([np.nan]), reward=np.zeros(1))
    with pytest.raises(BadInput, match="weight must be finite with 2 rows"):
        Shaped(advantage=np.zeros(2), reward=np.zeros(2), weight=np.zeros(3))
    shaped = Shaped(advantage=np.zeros(2), reward=np.zeros(2)).keeping(np.array([True, False])).noted(cap=3.0)
    assert (shaped.keep.tolist(), shaped.metrics) == ([True, False], {"cap": 3.0})


LOGPROB = -np.array([[0.1, 0.2, 0.3, 0.4], [1.0, 0.0, 0.0, 0.0]])
SHAPED = Shaped(advantage=np.array([1.0, -2.0]), reward=np.zeros(2))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Loss(aggregation="token"), -(4 * 1 - 2) / 5),
        (Loss(aggregation="sequence"), -(1 - 2) / 2),
        (Loss(aggregation="constant", constant=10), -(4 * 1 - 2) / 20),
        (Loss(ratio="sequence", aggregation="sequence"), -(1 - 2) / 2),
        (Loss(ratio="none", aggregation="sequence"), -(1 * -0.25 + -2 * -1.0) / 2),
    ],
)
def test_the_loss_of_a_batch_before_the_policy_has_moved(loss: Loss, expected: float) -> None:
    assert loss.policy_loss(SHAPED, LOGPROB, LOGPROB, MASK) == pytest.approx(expected)


def test_the_ratio_is_of_tokens_or_of_the_whole_sequence() -> None:
    old = LOGPROB - np.log([[1.5, 1.0, 1.0, 1.0], [1.0, 9.0, 9.0, 9.0]])  # what is masked must not matter
    token = Loss(aggregation="sequence").policy_loss(SHAPED, LOGPROB, old, MASK)
    assert token == pytest.approx(-((1.2 + 3) / 4 - 2) / 2), "1.5 is clipped at 1.2"
    sequence = Loss(ratio="sequence", aggregation="sequence").policy_loss(SHAPED, LOGPROB, old, MASK)
    assert sequence == pytest.approx(-(1.5**0.25 - 2) / 2)


def test_weight_0_stays_in_the_denominator_and_what_is_not_kept_does_not() -> None:
    weighted = Shaped(advantage=np.array([1.0, -2.0]), reward=np.zeros(2), weight=np.array([0.0, 1.0]))
    assert Loss().policy_loss(weighted, LOGPROB, LOGPROB, MASK) == pytest.approx(2 / 5)
    dropped = SHAPED.keeping(np.array([False, True]))
    assert Loss().policy_loss(dropped, LOGPROB, LOGPROB, MASK) == pytest.approx(2)
    by_token = Shaped(advantage=np.ones((2, 4)), reward=np.zeros(2), weight=np.array([[1, 0, 0, 0], [1, 1, 1, 1.0]]))
    assert Loss().policy_loss(by_token, LOGPROB, LOGPROB, MASK) == pytest.approx(-2 / 5)
