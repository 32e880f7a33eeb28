"""Form and length in place of answers."""

import numpy as np
import pytest

from satisfice.methods.shaping.format_length_surrogate import FormatLengthSurrogate, length_reward
from satisfice.methods.shaping.grpo import Grpo
from satisfice.testing import rollouts

LENGTHS = [768, 1536, 2500, 2500, 400, 3072]
BATCH = rollouts([0, 1, 0, 1, 0, 0], LENGTHS, thinking_closed=[1] * 6, answer_found=[1, 1, 1, 0, 0, 1])


def test_worked_example() -> None:
    assert length_reward(LENGTHS, 3072) == pytest.approx([0.75, 1.0, 0.2122, 0.2122, 0.4530, -1.0], abs=1e-4)
    assert FormatLengthSurrogate()(BATCH).reward == pytest.approx([1.75, 2.0, 1.2122, 0.0, 0.0, 0.0], abs=1e-4)


def test_no_answer_at_the_limit_earns_less_than_nothing_and_beyond_it_falls_on() -> None:
    batch = rollouts([0, 0], [3072, 4000], thinking_closed=[0, 0], answer_found=[0, 0])
    assert FormatLengthSurrogate()(batch).reward == pytest.approx([-1, 1 - 2 * (2464 / 1536) ** 2])


def test_the_verdict_is_not_read() -> None:
    other = rollouts([1, 0, 1, 0, 1, 1], LENGTHS, thinking_closed=[1] * 6, answer_found=[1, 1, 1, 0, 0, 1])
    assert np.array_equal(FormatLengthSurrogate()(BATCH).advantage, FormatLengthSurrogate()(other).advantage)


def test_the_advantage_is_the_inner_methods() -> None:
    inner = Grpo(ddof=0)
    shaped = FormatLengthSurrogate(advantage=inner)(BATCH)
    assert np.array_equal(shaped.advantage, inner(BATCH.rewarded(shaped.reward)).advantage)
