"""How much longer a chain will think, in words."""

import numpy as np
import pytest

from satisfice.measure.subject import Subject
from satisfice.report.remaining import remaining_words
from satisfice.report.samples import Outcome

FULL = Subject("pocket", "full")


def outcome(thinking: int, *, truncated: bool = False, subject: Subject = FULL, failed: bool = False) -> Outcome:
    return Outcome(
        subject=subject, task="t", problem=str(thinking), seed=0, verdict="right", answered=True, failed=failed,
        truncated=truncated, spent=thinking, thinking=thinking, first_right=None,
    )  # fmt: skip


def test_it_says_what_is_left_at_the_start_the_middle_and_late() -> None:
    lengths = [10 * n for n in range(1, 41)]  # 10 to 400
    told = remaining_words([outcome(n) for n in lengths], "t", FULL)
    middle, late = 205, 361
    after = [np.mean([n - at for n in lengths if n > at]) for at in (0, middle, late)]
    assert told.startswith(f"Without a rule a chain is expected to think for {after[0]:.0f} tokens, ")
    assert f"{after[1]:.0f} more after {middle}, " in told
    assert f"{after[2]:.0f} more after {late}." in told


def test_chains_that_were_cut_count_as_going_on_and_are_told() -> None:
    some = [outcome(100) for _ in range(30)] + [outcome(200, truncated=True) for _ in range(10)]
    told = remaining_words(some, "t", FULL)
    assert "to think for 125 tokens" in told
    assert "25% were cut by the limit, so these are lower bounds." in told


@pytest.mark.parametrize("baseline", [None, FULL])
def test_few_chains_other_rules_and_failures_say_nothing(baseline: Subject | None) -> None:
    few = [outcome(100)] * 19 + [outcome(5, subject=Subject("pocket", "deer"))] * 50 + [outcome(0, failed=True)] * 9
    assert remaining_words(few, "t", baseline) == ""
