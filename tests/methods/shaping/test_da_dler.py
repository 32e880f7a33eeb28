"""DA-DLER: easy prompts get the shorter cap."""

import pytest

from satisfice.core.errors import BadInput
from satisfice.methods.shaping.da_dler import DaDler
from satisfice.methods.shaping.dler import Dler
from satisfice.testing import rollouts


def test_worked_example() -> None:
    batch = rollouts([1, 1, 1, 0], [1000, 1800, 3500, 2500])
    assert DaDler()(batch).reward.tolist() == [1, 1, 0, 0]
    assert Dler()(batch).reward.tolist() == [1, 1, 1, 0]


def test_a_pass_rate_at_the_threshold_is_hard() -> None:
    assert DaDler()(rollouts([1, 0], [3500, 100])).reward.tolist() == [1, 0]


def test_an_easy_group_that_is_all_too_long_is_not_kept() -> None:
    shaped = DaDler()(rollouts([1, 1, 1], [2500, 3000, 3900]))
    assert (shaped.reward.tolist(), shaped.keep.any()) == ([0, 0, 0], False)


def test_the_pass_rate_counts_what_ended_within_the_larger_cap() -> None:
    batch = rollouts([1, 1, 1, 0], [100, 3500, 4001, 4000], truncated=[0, 0, 0, 1])
    assert DaDler()(batch).reward.tolist() == [1, 1, 0, 0], "two of four: hard"


def test_generation_runs_at_the_larger_cap() -> None:
    assert DaDler().cap({}, ["a"]).tolist() == [4000]
    with pytest.raises(BadInput, match="easy_limit must not exceed"):
        DaDler(easy_limit=5000)
