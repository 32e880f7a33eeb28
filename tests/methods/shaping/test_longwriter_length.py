"""LongWriter-Zero: an interval of lengths, and three rewards compared on their own."""

import pytest

from satisfice.methods.shaping.longwriter_length import LongwriterLength, length_reward
from satisfice.testing import rollouts

TEXTS = {"shortest": [800] * 3, "longest": [1200] * 3, "repetitive": [0] * 3, "well_formed": [1] * 3}


def test_worked_example() -> None:
    assert length_reward([500, 1000, 1500], 800, 1200, 2000) == pytest.approx([0.6250, 1.0, 0.6250])


def test_three_components_are_compared_on_their_own_and_averaged() -> None:
    batch = rollouts([0, 0, 0], words=[500, 1000, 1500], score=[0.2, 0.2, 0.8], **TEXTS)
    shaped = LongwriterLength(limit=2000)(batch)
    # length: deviations -0.125, 0.25, -0.125 over 0.25; quality: -0.2, -0.2, 0.4 over 0.4; form: all alike
    assert shaped.advantage == pytest.approx([(-0.5 - 0.5) / 3, (1 - 0.5) / 3, (-0.5 + 1) / 3])
    by_range = LongwriterLength(limit=2000, scale="range")(batch)
    assert by_range.advantage == pytest.approx([-2 / 3, 0, 0])


def test_form_fails_for_what_is_truncated_malformed_or_goes_in_circles() -> None:
    forms = {**TEXTS, "repetitive": [0, 1, 0], "well_formed": [1, 1, 0]}
    even = {"words": [1000] * 3, "score": [0.5] * 3}
    assert LongwriterLength()(rollouts([1] * 3, **even, **forms)).advantage == pytest.approx([1 / 3, -1 / 6, -1 / 6])
    cut = rollouts([1] * 3, truncated=[1, 0, 0], **even, **TEXTS)
    assert LongwriterLength()(cut).advantage == pytest.approx([-1 / 3, 1 / 6, 1 / 6])


def test_beyond_the_limit_the_reward_is_negative_unless_it_is_held_at_0() -> None:
    batch = rollouts([1, 1, 1], words=[3000, 1000, 1000], score=[1, 1, 1], **TEXTS)
    assert LongwriterLength(limit=2000)(batch).metrics["length_reward"] == pytest.approx((2 - 1.25) / 3)
    assert LongwriterLength(limit=2000, clip=True)(batch).metrics["length_reward"] == pytest.approx(2 / 3)
