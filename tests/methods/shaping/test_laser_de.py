"""LASER-DE: long wrong rollouts are forgiven."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.methods.shaping.laser_de import LaserDe, goes_in_circles
from satisfice.testing import rollouts

STATE = {"step": 20, "monitored": 20, "targets": {"high": 2048, "medium": 3072, "low": None}}


def test_worked_example() -> None:
    batch = rollouts([1, 1, 1, 0], [1000, 2000, 4000, 3000], repetitive=[0, 0, 0, 0])
    shaped = LaserDe()(batch, STATE)
    assert shaped.reward.tolist() == [1.5, 1.5, 1.0, 0.0]
    assert shaped.advantage == pytest.approx([0.7071, 0.7071, 0.0, -1.4142], abs=1e-4)


@pytest.mark.parametrize(
    ("length", "columns", "expected"),
    [(2000, {}, -0.5), (3000, {"repetitive": [0, 0, 0, 1]}, -0.5), (3000, {"well_formed": [1, 1, 1, 0]}, -1.0)],
)
def test_what_is_not_forgiven(length: int, columns: dict[str, list[int]], expected: float) -> None:
    batch = rollouts([1, 1, 1, 0], [1000, 2000, 4000, length], **{"repetitive": [0] * 4, **columns})
    assert LaserDe()(batch, STATE).reward[3] == expected


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (list(range(400)), False),
        ([7] * 500, True),  # a 4-gram of a single token does not count, eight of it do
        ([*range(30), *[7] * 470], True),
        ([7] * 9, True),  # a pair of a single token counts
        ([7] * 8, False),  # too short to be looked at
        ([1, 2] * 4, False),
        ([*range(40), *[7] * 6], False),
        ([*range(40), *[7] * 7], True),
        ([1, 2, 3, 4, 5, *range(100, 110), 1, 2], False),  # a 2-gram twice, but far apart
        ([1, 2, 9, 1, 2, *range(100, 115)], True),  # close together
        ([*range(1000, 1300), *range(8), *range(2000, 2300), *range(8)], True),  # eight tokens, far apart
        ([*range(1000, 1300), *range(7), *range(2000, 2300), *range(7)], False),
        ([*(n for i in range(3) for n in (1, 2, 3, 4, 50 + i)), *range(1000, 1300)], True),  # three times, close
        ([*(n for i in range(2) for n in (1, 2, 3, 4, 50 + i)), *range(1000, 1300)], False),
        ([], False),
    ],
)
def test_going_in_circles(ids: list[int], expected: bool) -> None:
    assert goes_in_circles(ids) is expected


def test_random_ids_of_a_large_vocabulary_do_not_go_in_circles() -> None:
    assert not goes_in_circles(np.random.default_rng(0).integers(0, 10**6, 3000).tolist())


def test_the_released_runs_forgave_every_long_wrong_rollout() -> None:
    batch = rollouts([1, 1, 1, 0], [1000, 2000, 4000, 3000], repetitive=[0, 0, 0, 1])
    assert [LaserDe()(batch, STATE).reward[3], LaserDe(detect=False)(batch, STATE).reward[3]] == [-0.5, 0.0]


@settings(max_examples=200)
@given(st.integers(0, 10**6))
def test_the_detector_is_what_its_docstring_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, int(rng.choice([2, 4, 12, 60, 10**4])), int(rng.integers(0, 260))).tolist()
    size = len(ids)
    n, often = (2 if size < 30 else 3 if size < 100 else 4), (2 if size < 200 else 3)

    def places(width: int) -> dict[tuple[int, ...], list[int]]:
        found: dict[tuple[int, ...], list[int]] = {}
        for at in range(size - width + 1):
            found.setdefault(tuple(ids[at : at + width]), []).append(at)
        return found

    close = any(
        len(at) >= often and np.diff(at).min() < size // 3
        for gram, at in places(n).items()
        if not (n > 2 and len(set(gram)) == 1)
    )
    long = size >= 4 * n and any(len(at) > 1 for at in places(2 * n).values())
    assert goes_in_circles(ids) == (size > 8 and (close or long))
