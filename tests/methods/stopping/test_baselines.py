"""The plain baselines: no rule, a fixed cap, the first cue, no thinking at all."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.core.problem import Problem
from satisfice.core.session import Policy, Session, Solution, solve
from satisfice.engines.scripted import ScriptedEngine
from satisfice.methods.stopping.first_cue import FirstCue
from satisfice.methods.stopping.fixed_budget import FixedBudget
from satisfice.methods.stopping.full import Full
from satisfice.methods.stopping.no_thinking import NoThinking

STORY = "one two so 3\nWait, no so 4\nWait, yes</think>4"


def play(rule: Policy, **limits: int) -> Solution:
    engine = ScriptedEngine(STORY)
    problem = Problem(id="a", task="t@1", question="q", answer="4")
    return asyncio.run(solve(rule, Session(engine, problem, **limits)))


def test_full_thinks_to_the_natural_end() -> None:
    solution = play(Full())
    assert (solution.thinking, solution.text, solution.ended) == (STORY.split("</think>")[0], "4", "model")
    assert solution.ledger.spent == solution.ledger.kept
    assert solution.ledger.injected == 0


def test_full_at_a_token_limit_answers_out_of_the_reserve_and_says_so() -> None:
    solution = play(Full(), chain_limit=24)  # of which 20 are the scripted profile's reserve
    assert (solution.thinking, solution.text, solution.ended) == ("one two ", "?", "limit")


@given(st.integers(0, 60))
def test_fixed_budget_thinks_for_so_many_tokens_and_answers(tokens: int) -> None:
    whole, solution = play(Full()), play(FixedBudget(tokens=tokens))
    engine = ScriptedEngine(STORY)
    length = len(engine.encode(whole.thinking)) + 1  # the model's own closing tag is a thinking token too
    if tokens >= length:
        assert (solution.text, solution.ended, solution.ledger.spent) == ("4", "model", whole.ledger.spent)
    else:
        assert len(engine.encode(solution.thinking)) == tokens
        cut_at_the_end = tokens == length - 1  # then closing it is what the model would have done
        assert (solution.text, solution.ended) == ("4" if cut_at_the_end else "?", "rule")
        assert solution.ledger.spent == tokens + 2  # the answer and its end


def test_fixed_budget_refuses_a_negative_cap() -> None:
    with pytest.raises(BadInput, match="fixed-budget: tokens must be a whole number"):
        FixedBudget(tokens=-1)


def test_first_cue_stops_right_before_the_first_cue_and_drops_its_tokens() -> None:
    solution = play(FirstCue())
    assert (solution.thinking, solution.text, solution.ended) == ("one two so 3\n", "?", "rule")
    assert solution.ledger.dropped == 1, "the cue itself was sampled and cut away"


def test_nothinking_answers_at_once() -> None:
    solution = play(NoThinking())
    assert (solution.thinking, solution.text, solution.ended) == ("", "?", "rule")
    assert (solution.ledger.spent, solution.ledger.injected) == (2, 1)


def test_fixed_budget_may_wait_for_the_end_of_the_step_or_for_the_cue() -> None:
    assert play(FixedBudget(tokens=2)).thinking == "one "
    assert play(FixedBudget(tokens=2, at="step")).thinking == "one two so 3\n"
    assert play(FixedBudget(tokens=2, at="cue")).thinking == "one two so 3\n"
    assert play(FixedBudget(tokens=9, at="cue")).thinking == "one two so 3\nWait, no so 4\n"
    assert play(FixedBudget(tokens=18, at="cue")).ended == "model", "no cue comes after that"


def test_periodic_exit_passes_all_but_every_nth_cue() -> None:
    assert play(FirstCue(every=2)).thinking == "one two so 3\nWait, no so 4\n"
    assert play(FirstCue(every=3)).ended == "model"


def test_random_exit_is_drawn_from_the_seed_with_the_chance_asked_for() -> None:
    assert play(FirstCue(chance=0.0)).ended == "model"
    first = [play(FirstCue(chance=0.3), seed=seed).thinking == "one two so 3\n" for seed in range(300)]
    assert sum(first) == pytest.approx(90, abs=30)
    assert first[:20] == [play(FirstCue(chance=0.3), seed=seed).thinking == "one two so 3\n" for seed in range(20)]
