"""Imitation of one's own best: the schedules, what is remembered, and how it is measured again."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.shaper import State
from satisfice.methods.shaping.spear import Spear, clip_cov_tokens, recalibrated, replay_weight, turn_bonus
from satisfice.testing import random_rollouts, rollouts

READS = Spear.card.requires


def batch(correct: list[int], turns: list[int] | None = None):  # type: ignore[no-untyped-def]
    n = len(correct)
    ids = np.arange(3 * n).reshape(n, 3)
    mask = np.ones((n, 3), bool)
    mask[0, 2] = False
    return rollouts(
        correct,
        [3] * n,
        turns=[1] * n if turns is None else turns,
        ids=ids,
        logprob=-ids / 10,
        mask=mask,
        prompt=["p"] * n,
    )


def test_worked_example_of_the_schedules() -> None:
    assert [turn_bonus([6], k, 100)[0] for k in (0, 50, 100, 250)] == pytest.approx([0.6, 0.3, 0, 0])
    assert turn_bonus([10, 40], 0).tolist() == [1, 1]
    assert [replay_weight(k, 200) for k in (0, 50, 100, 200)] == pytest.approx([0, 0.1464, 0.5, 1], abs=1e-4)


def test_what_beat_its_group_is_remembered_without_what_was_injected() -> None:
    shaper = Spear()
    state = shaper.update(shaper.init(), batch([1, 0, 0, 0]))
    assert [(one["prompt"], one["step"], one["ids"]) for one in state["memory"]] == [("p", 0, [0, 1])]
    assert state["memory"][0]["logprob"] == [0, -0.1]
    assert json.loads(json.dumps(state)) == state


@pytest.mark.parametrize("correct", [[0, 0, 0], [1, 1, 1]])
def test_a_group_that_is_all_right_or_all_wrong_feeds_nothing(correct: list[int]) -> None:
    assert Spear().update(Spear().init(), batch(correct))["memory"] == []


def test_the_old_and_what_is_too_much_is_forgotten() -> None:
    shaper, state = Spear(age=2, size=3), Spear().init()
    sizes = []
    for _ in range(4):
        state = shaper.update(state, batch([1, 1, 0]))
        sizes.append([one["step"] for one in state["memory"]])
    assert sizes == [[0, 0], [0, 1, 1], [1, 2, 2], [2, 3, 3]]
    aged = Spear(age=1).update({**state, "step": 5}, batch([0, 0]))
    assert aged["memory"] == [], "what is older than `age` steps"


def test_what_called_no_tool_is_not_remembered_unless_wanted() -> None:
    rows = batch([1, 1, 0, 0], turns=[0, 2, 0, 3])
    assert [one["ids"] for one in Spear().update(Spear().init(), rows)["memory"]] == [[3, 4, 5]]
    every = Spear(only_with_tools=False)
    assert len(every.update(every.init(), rows)["memory"]) == 2


def test_nothing_is_divided_by_a_deviation_as_in_the_scripts() -> None:
    rows = batch([1, 0, 0, 0], turns=[0, 0, 0, 0])
    assert Spear()(rows).advantage == pytest.approx([0.75, -0.25, -0.25, -0.25])
    loss = Spear().loss
    assert (loss.clip_low, loss.clip_high, loss.dual_clip, loss.aggregation, loss.kl) == (0.2, 0.28, 10, "constant", 0)
    assert (Spear().explore, Spear().imitate, Spear().age) == (200, 300, 5)


def test_what_was_good_once_is_measured_by_what_is_usual_now() -> None:
    shaper = Spear(age=99)
    late: State = {**shaper.init(), "step": 200}  # calls pay nothing any more
    state = shaper.update(late, batch([1, 0, 0, 0]))
    assert shaper.replay(state)[0][1] == pytest.approx(1 - 0.25)
    (_, divided), *_ = Spear(age=99, divide=True).replay(state)
    assert divided == pytest.approx((1 - 0.25) / 0.5, abs=1e-4)
    for _ in range(3):
        state = shaper.update(state, batch([1, 1, 1, 1]))
    assert state["means"] == [0.25, 1, 1, 1]
    assert shaper.replay(state) == []  # a right rollout is nothing special any more


def test_worked_median() -> None:
    assert recalibrated([1.0, 0.2], [0.4, 0.5, 0.9], [0.5, 0.25, 0.1]) == pytest.approx([2, -1.2], abs=1e-4)


def test_the_usual_is_that_of_the_latest_rewards() -> None:
    shaper, state = Spear(baseline=2), Spear().init()
    for right in (0, 1, 2, 3):
        state = shaper.update(state, batch([1] * right + [0] * (4 - right), turns=[0] * 4))
    assert (state["means"], len(state["stds"])) == ([0.5, 0.75], 2)


def test_calling_tools_pays_at_first() -> None:
    shaped = Spear()(batch([1, 1, 0], turns=[6, 0, 12]))
    assert shaped.reward == pytest.approx([1.6, 1, 1])
    late: State = {**Spear().init(), "step": 200}
    assert Spear()(batch([1, 1, 0], turns=[6, 0, 12]), late).reward.tolist() == [1, 1, 0]


@given(st.integers(0, 40), st.floats(0, 1))
def test_tokens_are_left_out_within_the_band_and_few(seed: int, share: float) -> None:
    rows = random_rollouts(seed, columns=READS)
    rng = np.random.default_rng(seed)
    advantage, clipped = 4 * rng.normal(size=rows["mask"].shape), rng.random(rows["mask"].shape) < 0.3
    chosen = clip_cov_tokens(advantage, rows["logprob"], rows["mask"], clipped, share=share, low=0.5, high=3, seed=seed)
    valid = rows["mask"]
    assert chosen.sum() <= max(int(share * valid.sum()), 1)
    assert not (chosen & (clipped | ~valid)).any()
    a, p = advantage[valid], rows["logprob"][valid]
    covariance = np.zeros(valid.shape)
    covariance[valid] = (a - a.mean()) * (p - p.mean())
    assert ((covariance[chosen] > 0.5) & (covariance[chosen] < 3)).all()


def test_nothing_is_left_out_where_nothing_is_in_the_band() -> None:
    ones = np.ones((1, 3))
    assert not clip_cov_tokens(ones, -ones, ones, 0 * ones).any()
    assert not clip_cov_tokens(ones, -ones, 0 * ones, 0 * ones).any()


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_what_is_remembered_and_replayed_is_what_the_scripts_remember_and_replay(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    correct, turns = (rng.random(n) < 0.5).astype(int), rng.integers(0, 3, n)
    rows = batch(correct.tolist(), turns=turns.tolist())
    late: State = {**Spear().init(), "step": 200}  # no bonus for calls
    state = Spear().update(late, rows)
    expected = [i for i in range(n) if correct[i] > correct.mean() and turns[i]]
    assert sorted(one["ids"][0] for one in state["memory"]) == [3 * i for i in expected]
    assert all(a == pytest.approx(1 - correct.mean()) for _, a in Spear().replay(state))
