"""The cosine reward and the charge for repetition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.methods.shaping._gae import generalised_advantage
from satisfice.methods.shaping.cosine_length import CosineLength, cosine, discounted, repeated, repeated_share
from satisfice.testing import rollouts


def test_worked_example() -> None:
    batch = rollouts([1, 1, 0, 0, 1, 0], [2000, 10_000, 2000, 10_000, 14_320, 14_336])
    reward = CosineLength(repetition=0)(batch).reward
    assert reward == pytest.approx([1.9527, 1.2092, -9.5274, -2.0924, -10, -10], abs=1e-4)


def test_worked_example_of_two_streams_with_discounts_of_their_own() -> None:
    mask, value = np.ones((1, 4)), np.full((1, 4), 0.3)
    end = generalised_advantage([[0, 0, 0, 1.86]], value, mask)
    charge = discounted([[0, -0.05, -0.05, 0]], mask, 0.99)
    # tokens are counted from 0 here: the charges stand on numbers 1 and 2
    assert (end + charge)[0] == pytest.approx([1.4615, 1.4605, 1.5100, 1.5600], abs=1e-4)


def test_worked_example_of_repetition() -> None:
    ids = np.array([[1, 2, 3, 1, 2, 3, 1, 2]])
    charge = -0.05 * repeated(ids, np.ones((1, 8)), 3)
    assert charge[0] == pytest.approx([0, 0, 0, -0.05, -0.05, -0.05, -0.05, -0.05])
    assert charge.sum() == pytest.approx(-0.25)
    assert repeated_share(["A", "b", "a", "b", "a", "b"], 2) == pytest.approx(0.6)


@given(st.lists(st.integers(0, 2), max_size=30), st.integers(1, 6))
def test_repetition_is_what_a_plain_search_finds(ids: list[int], n: int) -> None:
    expected, seen = [False] * len(ids), set()
    for at in range(len(ids) - n + 1):
        gram = tuple(ids[at : at + n])
        if gram in seen:
            expected[at : at + n] = [True] * n
        seen.add(gram)
    found = repeated(np.array([ids], dtype=int).reshape(1, -1), np.ones((1, len(ids)), bool), n)
    assert found[0].tolist() == expected


def test_fewer_tokens_than_an_n_gram_repeat_nothing() -> None:
    assert not repeated(np.array([[1, 1, 1]]), np.array([[1, 1, 0]]), 3).any()
    assert repeated_share(["a"], 2) == 0
    with pytest.raises(BadInput, match="n must be at least 1"):
        repeated_share(["a"], 0)


def test_the_charge_falls_on_the_tokens_and_only_there() -> None:
    ids = np.array([[5, 6, 5, 6], [1, 2, 3, 9]])
    batch = rollouts([1, 1], [4, 4], ids=ids, mask=np.array([[1, 1, 1, 1], [1, 1, 1, 0]]))
    shaped = CosineLength(ngram=2, discount=0)(batch)
    assert shaped.advantage == pytest.approx(np.array([[0, 0, -0.05, -0.05], [0, 0, 0, 0]]))
    assert shaped.metrics["repeated"] == pytest.approx(2 / 7)


def test_a_right_reward_that_rises_with_length_is_a_setting() -> None:
    assert cosine([0, 7168, 14_336], 14_336, 1, 2) == pytest.approx([1, 1.5, 2])
    assert math.isclose(float(cosine(0, 10, 2, 1)), 2)
