"""SIRI: the length limit swings."""

import pytest

from satisfice.core.errors import BadInput
from satisfice.methods.shaping.siri import Siri
from satisfice.testing import rollouts


def test_worked_example_of_the_cosine() -> None:
    limits = [Siri().limit_at(step) for step in range(0, 641, 80)]
    expected = [16384.0, 15184.3, 12288.0, 9391.7, 8192.0, 9391.7, 12288.0, 15184.3, 16384.0]
    assert limits == pytest.approx(expected, abs=0.05)


def test_worked_example_of_the_stair_cosine() -> None:
    steps = (80, 120, 160, 200, 240, 320, 400, 440, 480, 520, 560)
    expected = [16384, 15184.3, 12288, 9391.7, 8192, 8192, 8192, 9391.7, 12288, 15184.3, 16384]
    assert [Siri(form="stair-cosine").limit_at(step) for step in steps] == pytest.approx(expected, abs=0.05)


def test_the_stair_compresses_first() -> None:
    assert [Siri(form="stair").limit_at(step) for step in (0, 319, 320, 639, 640)] == [8192, 8192, 16384, 16384, 8192]


@pytest.mark.parametrize(
    ("step", "expected"), [(0, [1, 1, 1, 0]), (160, [1, 1, 0, 0]), (320, [1, 0, 0, 0])]
)  # limits 16384, 12288, 8192
def test_worked_example_of_the_reward(step: int, expected: list[int]) -> None:
    shaped = Siri()(rollouts([1, 1, 1, 0], [5000, 9000, 15000, 16384]), {"step": step})
    assert shaped.reward.tolist() == expected
    if step == 320:
        assert shaped.advantage == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-4)


@pytest.mark.parametrize("form", ["cosine", "stair", "stair-cosine"])
def test_limits_stay_between_the_two_and_come_back_after_a_cycle(form: str) -> None:
    rule = Siri(form=form)
    limits = [rule.limit_at(step) for step in range(641)]
    assert (min(limits), max(limits)) == (pytest.approx(8192), pytest.approx(16384))
    assert [rule.limit_at(step + 640 * 2) for step in range(0, 640, 7)] == limits[:640:7]


def test_the_cap_is_whole_tokens() -> None:
    assert Siri().cap({"step": 80}, ["a", "b"]).tolist() == [15184, 15184]
    with pytest.raises(BadInput, match="shortest must not exceed longest"):
        Siri(shortest=20000)
