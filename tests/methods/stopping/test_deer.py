"""DEER: the confidence of a trial answer, and the rule on scripted chains."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.engine import Request
from satisfice.core.errors import BadInput
from satisfice.core.problem import Problem
from satisfice.core.session import Session, Solution, solve
from satisfice.engines.scripted import END, SCRIPTED, ScriptedEngine
from satisfice.methods.stopping.deer import Deer, Mean, certainty, confidence
from satisfice.methods.stopping.trial import Trial

STORY = "7*6=41 so 41\nWait, 41-1=40 no\n7*6=42 so 42\nWait, 42 ok\nWait, 42 again\n</think>42"
PROBES = [0.99, 0.98, 0.97, 0.89]


def play(rule: Deer, trials: dict[int, list[tuple[str, float]]], **profile: object) -> tuple[Solution, ScriptedEngine]:
    """`trials`: for the trial asked at the n-th cue, its tokens with their probabilities."""

    def script(so_far: str, request: Request) -> str | tuple[str, float]:
        if STORY.startswith(so_far):
            return STORY[len(so_far) :] or END
        thinking, _, trial = so_far.rpartition("</think>")
        if request.temperature > 0:
            return END if trial else "answer"
        told = trials[thinking.count("Wait")]
        token, probability = told[len(engine.encode(trial))]
        return token, float(np.log(probability))

    engine = ScriptedEngine(script, profile=replace(SCRIPTED, **profile))
    problem = Problem(id="a", task="t@1", question="7*6", answer="42")
    return asyncio.run(solve(rule, Session(engine, problem))), engine


def test_the_worked_example() -> None:
    logprobs = np.log(PROBES)
    assert confidence(logprobs, "arithmetic", skip=1) == pytest.approx(0.9467, abs=1e-4)
    assert confidence(logprobs, "geometric", skip=1) == pytest.approx(0.9458, abs=1e-4)
    assert confidence(logprobs, "arithmetic") == pytest.approx(0.9575, abs=1e-4)
    assert confidence(logprobs, "geometric") == pytest.approx(0.9567, abs=1e-4)
    assert confidence(logprobs, "min", skip=1) == pytest.approx(0.89, abs=1e-4)


@pytest.mark.parametrize(("closing", "expected"), [(True, 0.795), (False, 0.99)])
def test_the_script_for_transformers_leaves_the_closing_token_out(closing: bool, expected: float) -> None:
    trial = Trial(text="12", closed=True, tokens=2, logprobs=np.log([0.99, 0.99, 0.6]), entropy=np.zeros(3))
    sure = certainty(trial, "arithmetic", skip=1, closed=True, closing=closing)
    assert sure == pytest.approx(expected, abs=1e-4)


@settings(max_examples=200)
@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=20), st.floats(0.01, 1.0), st.integers(0, 3))
def test_without_the_closing_token_its_probability_changes_nothing(probs: list[float], last: float, skip: int) -> None:
    for mean in ("arithmetic", "geometric", "min"):
        got = confidence(np.log([*probs, last]), mean, skip=skip, beyond=1)  # type: ignore[arg-type]
        assert got == pytest.approx(confidence(np.log(probs), mean, skip=skip))  # type: ignore[arg-type]
    assert confidence(np.log([last]), beyond=1) == 0 == confidence([], beyond=2)


def test_leaving_the_closing_token_out_can_flip_a_decision() -> None:
    unsure_end = {n: [("4", 0.99), ("2", 0.99), ("\n", 0.6)] for n in range(3)}
    assert play(Deer(), unsure_end)[0].ended == "model"
    assert play(Deer(closing=False), unsure_end)[0].ended == "rule"
    cut = {n: [("9", 0.99)] * 19 + [("8", 0.01)] for n in range(3)}
    assert play(Deer(closing=False, require_closed=False), cut)[0].ended == "rule", (
        "of a cut trial the last is left out"
    )


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30))
def test_the_three_means_are_ordered_and_lie_in_0_1(probs: list[float]) -> None:
    low, middle, high = (confidence(np.log(probs), mean) for mean in ("min", "geometric", "arithmetic"))
    assert 0 <= low <= middle + 1e-12
    assert middle <= high + 1e-12
    assert high <= 1 + 1e-12


@pytest.mark.parametrize("mean", ["arithmetic", "geometric", "min"])
def test_nothing_left_after_the_skipped_token_is_confidence_0(mean: Mean) -> None:
    assert confidence(np.log([0.99]), mean, skip=1) == 0
    assert confidence([], mean) == 0


def test_the_skip_rule_decides_whether_the_worked_example_exits() -> None:
    sure = [("x", 1.0), ("\n", 1.0)]
    trials = {0: [("1", 0.99), ("2", 0.98), ("3", 0.97), ("\n", 0.89)], 1: sure, 2: sure}
    skipping, _ = play(Deer(), trials, answer_skip=1)
    counting, _ = play(Deer(), trials, answer_skip=0)
    looks = [event.data["value"] for event in skipping.log if event.kind == "look"]
    assert looks == [pytest.approx(0.9467, abs=1e-4), 1.0]
    assert skipping.thinking == "7*6=41 so 41\nWait, 41-1=40 no\n7*6=42 so 42\n"
    assert counting.thinking == "7*6=41 so 41\n"
    assert skipping.text == "answer", "the visible answer is written afresh, the trial is thrown away"


def test_a_trial_answer_can_be_kept_and_then_nothing_more_is_sampled() -> None:
    sure = {n: [("4", 1.0), ("2", 1.0), ("\n", 1.0)] for n in range(3)}
    fresh, _ = play(Deer(), sure)
    kept, engine = play(Deer(reuse_answer=True), sure)
    assert (fresh.text, kept.text) == ("answer", "42")
    assert kept.thinking == fresh.thinking
    assert kept.ledger.kept == fresh.ledger.kept - 2, "the answer and the end of turn"
    boxed, _ = play(Deer(reuse_answer=True), sure, answer_form="boxed")
    assert boxed.text == "\\boxed{42}"
    assert engine.open_sequences == 0


def test_the_threshold_is_strict() -> None:
    trials = {n: [("4", 1.0), ("\n", 1.0)] for n in range(3)}
    assert play(Deer(threshold=1.0), trials)[0].ended == "model"
    assert play(Deer(threshold=0.999), trials)[0].ended == "rule"


def test_a_trial_that_does_not_close_is_never_confident_unless_told_so() -> None:
    trials = {n: [("9", 1.0)] * 20 for n in range(3)}
    closed, engine = play(Deer(), trials)
    assert (closed.ended, closed.text) == ("model", "42")
    assert closed.ledger.probe == 3 * 20 == engine.tokens - closed.ledger.kept
    assert play(Deer(require_closed=False), trials)[0].ended == "rule"


def test_an_empty_trial_is_never_confident() -> None:
    assert play(Deer(), {n: [("\n", 1.0)] for n in range(3)})[0].ended == "model"


def test_after_max_judge_steps_it_never_looks_again() -> None:
    trials = {n: [("4", 0.5), ("\n", 0.5)] for n in range(2)}
    solution, _ = play(Deer(max_judge_steps=2), trials)
    assert sum(event.kind == "look" for event in solution.log) == 2
    assert solution.ended == "model"


def test_a_cue_inside_a_word_is_no_cue() -> None:
    engine = ScriptedEngine("so 4\nAWaits 4, xWait\n</think>4")
    solution = asyncio.run(solve(Deer(), Session(engine, Problem(id="a", task="t@1", question="q", answer="4"))))
    assert not any(event.kind == "look" for event in solution.log)


def test_a_brace_within_the_answer_does_not_end_it() -> None:
    box = {"induce_answer": "\n**Final Answer**\n\\boxed{", "answer_end": ("}",)}

    def script(so_far: str, request: Request) -> str:
        if so_far.startswith("so\n\n**Final"):
            answer = "\\frac{1}{2}}."
            return answer[len(so_far.rpartition("boxed{")[2]) :]
        return "so\nWait</think>ok"[len(so_far) :] or END

    engine = ScriptedEngine(script, profile=replace(SCRIPTED, **box))
    solution = asyncio.run(
        solve(Deer(threshold=1), Session(engine, Problem(id="a", task="t", question="q", answer="")))
    )
    looks = [event.data["text"] for event in solution.log if event.kind == "look"]
    assert looks == ["\\frac{1}{2}"]


@pytest.mark.parametrize(
    ("field", "value"), [("threshold", 1.5), ("threshold", "high"), ("mean", "mode"), ("trial_tokens", 0)]
)
def test_bad_fields_are_refused_with_type_and_range(field: str, value: object) -> None:
    with pytest.raises(BadInput, match=f"deer: {field} must be .*, got {value!r}"):
        Deer(**{field: value})
