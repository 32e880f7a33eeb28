"""What is looked at before a training and watched during it."""

from typing import Any

import numpy as np
import pytest

from satisfice.core.errors import Unfit
from satisfice.core.rollouts import Rollouts
from satisfice.methods.shaping.dapo import Dapo
from satisfice.methods.shaping.dler import Dler
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.kimi_length import KimiLength
from satisfice.methods.shaping.palu import Palu
from satisfice.testing import rollouts
from satisfice.training.preflight import WINDOW, Alarms, check_hope, examine

LENGTHS = [10, 20, 30, 40, 50, 60, 70, 80]


def batch(correct: list[int], truncated: list[int] | None = None) -> Rollouts:
    return rollouts(correct, LENGTHS, group=[0, 0, 0, 0, 1, 1, 1, 1], truncated=truncated, prompt=["a"] * 4 + ["b"] * 4)


def test_figures() -> None:
    seen = examine(batch([1, 1, 1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0]))
    assert (seen["problems"], seen["rollouts"], seen["accuracy"]) == (2, 8, 0.625)
    assert (seen["solved_by_any"], seen["solved_by_all"], seen["truncated"]) == (1, 0.5, 0.125)
    assert (seen["length_p50"], seen["length_mean"]) == (45, 45)


@pytest.mark.parametrize(
    ("correct", "truncated", "shaper", "message"),
    [
        ([0] * 8, [1] * 8, Grpo(), "100% of the rollouts run into the limit of 99 tokens"),
        ([0] * 8, None, KimiLength(), "not one of 2 problems is solved in 8 rollouts"),
        ([1] * 8, None, Grpo(), "grpo has nothing to say about 8 rollouts: 100% of the problems are always solved"),
        ([1] * 4 + [0] * 4, None, Dapo(), "50% of the problems are always solved, 50% never"),
    ],
)
def test_hopeless_trainings_are_refused_with_the_reason(
    correct: list[int], truncated: list[int] | None, shaper: Any, message: str
) -> None:
    with pytest.raises(Unfit, match=message):
        check_hope(batch(correct, truncated), shaper, {}, 99)


def test_a_method_that_presses_where_all_are_right_has_hope_there() -> None:
    assert check_hope(batch([1] * 8), KimiLength(), {}, 99) == []


def test_a_stateful_method_starts_from_its_own_state() -> None:
    shaper = Palu(longest=99, floor=5)
    assert check_hope(batch([1, 1, 0, 1, 1, 1, 1, 1]), shaper, shaper.init(), 99) == []


def test_what_is_odd_is_told() -> None:
    n = 40
    right = [1, 0, 0, 0] + [0] * (n - 4)
    some = rollouts(right, np.full(n, 9), np.repeat(np.arange(n // 4), 4), truncated=[0] * 4 + [1] * 8 + [0] * (n - 12))
    notes = check_hope(some, Dapo(), {}, 99)
    assert notes == [
        "The limit of 99 tokens ends 20% of the untrained model's rollouts.",
        "Only 2.5% of the untrained model's rollouts are right.",
    ]


def step(accuracy: float = 0.9, length: float = 100, entropy: float = 0.5, clip: float = 0.0, cut: float = 0.0) -> Any:
    return {
        "rollouts/accuracy": accuracy, "rollouts/length": length, "rollouts/truncated": cut, "loss/entropy": entropy,
        "loss/clip_share": clip,
    }  # fmt: skip


@pytest.mark.parametrize("bad", [{"accuracy": 0.4}, {"length": 8}, {"entropy": 0.01}, {"clip": 0.6}, {"cut": 0.7}])
def test_alarms_sound_once_and_again_after_the_cause_was_gone(bad: dict[str, float]) -> None:
    alarms = Alarms()
    for _ in range(WINDOW):
        assert alarms(step()) == []
    told = [[text for _ in range(2 * WINDOW) for text in alarms(step(**row))] for row in (bad, {}, bad)]
    assert [len(texts) for texts in told] == [1, 0, 1]


def test_alarms_say_what_happened() -> None:
    alarms = Alarms()
    rows = [step()] * WINDOW + [step(0.4, 8, 0.01, 0.6, 0.7)] * WINDOW
    told = " ".join(text for row in rows for text in alarms(row))
    assert "Accuracy fell from 90.0% to" in told
    assert "Rollouts shrank" in told
    assert "tokens are clipped" in told


def test_no_alarm_in_an_ordinary_training_and_none_without_figures() -> None:
    alarms = Alarms()
    lengths = np.linspace(200, 60, 50)
    assert not any(alarms(step(length=float(length), entropy=0.3)) for length in lengths)
    assert not any(Alarms()({"loss": 1.0}) for _ in range(9))


def test_advantages_that_a_few_tokens_decide_are_told() -> None:
    alarms = Alarms()
    rows = [{**step(), "shaping/largest_advantage": size} for size in (3.0,) * WINDOW + (80.0,) * WINDOW]
    told = [text for row in rows for text in alarms(row)]
    assert len(told) == 1
    assert "Advantages reach" in told[0]
    batch = rollouts([1, 0, 0, 0], [20_000, 1, 2, 3])
    assert any("Advantages reach 58" in note for note in check_hope(batch, Dler(limit=32_000), {}, 32_000))
