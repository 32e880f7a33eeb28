"""Entropy reduction: the golden values, and the rule on scripted distributions."""

import math

import pytest
from tests.methods.stopping.stage import looks, play, trials

from satisfice.methods.stopping.entropy_reduction import EntropyReduction, hopeless, low, mean_entropy

STEPS = [[[0.5, 0.3, 0.2], [0.6, 0.4]], [[0.7, 0.2, 0.1], [0.9, 0.1]], [[0.95, 0.03, 0.02], [0.99, 0.01]]]
LINES = "a step\n" * 5 + "so</think>7"


def test_golden_values() -> None:
    h = [mean_entropy(step) for step in STEPS]
    assert h == pytest.approx([0.8513, 0.5635, 0.1441], abs=1e-4)
    assert [h[0] - h[1], h[1] - h[2]] == pytest.approx([0.2879, 0.4194], abs=1e-4)


def told(thinking: str) -> list[dict[str, float]]:
    """The two answer tokens of the golden values after one, two, and three or more steps."""
    step = STEPS[min(thinking.count("\n"), 3) - 1]
    return [dict(zip(names, p, strict=False)) for names, p in zip(("456", "789"), step, strict=True)]


def test_the_rule_reads_the_golden_values_and_wants_them_low_twice() -> None:
    solution = play(EntropyReduction(), trials(LINES, told))
    assert looks(solution) == pytest.approx([0.8513, 0.5635, 0.1441, 0.1441], abs=1e-4)
    assert (solution.thinking, solution.ended) == ("a step\n" * 4, "rule")
    assert play(EntropyReduction(times=1), trials(LINES, told)).thinking.count("\n") == 3


def test_an_opening_token_that_says_nothing_is_skipped() -> None:
    solution = play(EntropyReduction(), trials(LINES, told), profile={"answer_skip": 1})
    assert looks(solution)[0] == pytest.approx(mean_entropy(STEPS[0][1:]), abs=1e-4)


def test_an_entropy_on_the_threshold_counts_as_low() -> None:
    assert low([0.2, 0.2], ["4", "4"], 0.2, 2, str.__eq__)
    assert not low([0.2, math.nextafter(0.2, 1)], ["4", "4"], 0.2, 2, str.__eq__)


def test_no_answer_is_no_certainty() -> None:
    assert not low([0.0, 0.0], [None, None], 0.2, 2, str.__eq__)
    silent = play(EntropyReduction(), trials(LINES, lambda _: []))
    assert silent.ended == "model"
    assert looks(silent) == [math.inf] * 5


def test_hope_is_given_up_only_when_asked_for() -> None:
    def rising(thinking: str) -> list[dict[str, float]]:
        p = 0.9 - 0.1 * thinking.count("\n")
        return [{"4": p, "5": 1 - p}]

    assert play(EntropyReduction(), trials(LINES, rising)).ended == "model"
    assert play(EntropyReduction(h_high=0.5, window=3), trials(LINES, rising)).thinking.count("\n") == 3
    assert not hopeless([0.9, 0.9, math.inf], 0.5, 3)
    assert not hopeless([0.9, 0.9, 0.5], 0.5, 3), "on the line is not above it"
    assert hopeless([0.9, 0.9, 0.9], 0.5, 3), "level is not falling"
