"""ES-CoT: runs of equal answers, the test on their jump, and the rule on scripted chains."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.engine import Request
from satisfice.core.problem import Problem
from satisfice.core.session import Session, Solution, solve
from satisfice.engines.scripted import END, ScriptedEngine
from satisfice.methods.stopping.es_cot import EsCot, jump_p_value, run_jump, run_lengths


@pytest.mark.parametrize(
    ("runs", "p", "stop"),
    [([1, 2, 1, 3, 12], 0.0055, False), ([1, 2, 1, 3, 13], 0.0044, True), ([1, 2, 1, 3, 14], 0.0036, True)],
)
def test_the_worked_example(runs: list[int], p: float, stop: bool) -> None:
    assert jump_p_value(runs) == pytest.approx(p, abs=1e-4)
    assert run_jump(runs, d_min=10, alpha=0.05) is stop


def test_without_variance_p_is_0_if_the_last_is_larger_else_1() -> None:
    assert jump_p_value([1, 2, 3, 14]) == 0  # differences 1, 1, 11
    assert jump_p_value([1, 2, 3, 4]) == 1  # differences 1, 1, 1
    assert run_jump([1, 2, 3, 14], d_min=10, alpha=0.05)


@pytest.mark.parametrize(
    ("runs", "stop"), [([], False), ([19], False), ([20], True), ([1, 10], False), ([1, 11], True), ([1, 1, 11], True)]
)
def test_fallback_with_fewer_than_four_runs(runs: list[int], stop: bool) -> None:
    assert run_jump(runs, d_min=10, alpha=0.05) is stop


@given(st.lists(st.sampled_from(["1", "2", None])))
def test_runs_cover_all_answers_and_none_is_alone(answers: list[str | None]) -> None:
    runs = run_lengths(answers, str.__eq__)
    assert sum(runs) == len(answers)
    ends = [sum(runs[:i]) for i in range(len(runs) + 1)]
    blocks = [answers[a:b] for a, b in itertools.pairwise(ends)]
    assert all(len(set(block)) == 1 for block in blocks)
    assert all(block == [None] for block in blocks if None in block)


@given(st.lists(st.integers(1, 20), min_size=4, max_size=8), st.integers(1, 20))
def test_a_longer_last_run_never_unstops(runs: list[int], more: int) -> None:
    if run_jump(runs, d_min=3, alpha=0.05):
        assert run_jump([*runs[:-1], runs[-1] + more], d_min=3, alpha=0.05)


def play(rule: EsCot, story: str, answers: dict[int, str]) -> Solution:
    """`answers`: what a trial says after so many lines; the last one known holds on."""

    def script(so_far: str, request: Request) -> str:
        if story.startswith(so_far):
            return story[len(so_far) :] or END
        thinking, _, trial = so_far.rpartition("</think>")
        if request.temperature > 0:
            return END if trial else "final"
        told = answers[max(n for n in answers if n <= thinking.count("\n"))] + "\n"
        return told[len(trial) :]

    engine = ScriptedEngine(script)
    solution = asyncio.run(solve(rule, Session(engine, Problem(id="a", task="t@1", question="q", answer=""))))
    assert solution.ledger.spent == engine.tokens
    assert not solution.error
    return solution


LINES = "a step\n" * 30 + "</think>7"


def test_it_stops_after_the_step_at_which_the_run_is_long_enough() -> None:
    # runs 1 (at step 1: "3"), then "7" from step 2 on: two runs, so the open one must reach d_min + 1 = 5 -> step 6
    solution = play(EsCot(d_min=4), LINES, {0: "3", 2: "7"})
    assert (solution.ended, solution.text) == ("rule", "final")
    assert solution.thinking == "a step\n" * 6, "the delimiter of the step belongs to the thinking"


def test_trials_without_an_answer_break_the_run() -> None:
    # "7" at steps 1-4, none at 5, "7" from 6: the open run after it must reach 5 -> step 10
    assert play(EsCot(d_min=4), LINES, {0: "7", 5: "", 6: "7"}).thinking.count("\n") == 10
    assert play(EsCot(d_min=4), LINES, {0: ""}).ended == "model"


def test_the_cue_trigger_looks_before_cues_only() -> None:
    story = "a\nb\nWait, c\nd\nWait, e\nWait, f\nWait, g</think>7"
    solution = play(EsCot(d_min=1, trigger="cue"), story, {0: "7"})
    assert solution.thinking == "a\nb\nWait, c\nd\n"
    assert [event.data["text"] for event in solution.log if event.kind == "look"] == ["7", "7"]
