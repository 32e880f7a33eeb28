"""Exits from one chain: their rewards, the chains that make them, and which tokens are trained on."""

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.chain import Chain
from satisfice.core.problem import Problem
from satisfice.core.session import Session
from satisfice.engines.scripted import ScriptedEngine
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.s_grpo import SGrpo, exit_places, serial_reward
from satisfice.testing import rollouts

EXAMPLE = [0, 1, 1, 0, 1]


def test_worked_example() -> None:
    shaped = SGrpo()(rollouts(EXAMPLE, exit=range(5)))
    assert shaped.reward == pytest.approx([0, 1, 0.5, 0, 0.25])
    assert shaped.advantage == pytest.approx([-0.35, 0.65, 0.15, -0.35, -0.10])
    assert shaped.metrics == {"exits_right": 0.5, "whole_right": 1.0}


def test_worked_example_of_the_variant_that_counts_exits() -> None:
    shaped = SGrpo(by="exit")(rollouts(EXAMPLE, exit=range(5)))
    assert shaped.reward == pytest.approx([0, 0.5, 0.25, 0, 0.0625])


def test_a_group_that_is_all_right_still_prefers_the_earliest_where_grpo_says_nothing() -> None:
    batch = rollouts([1, 1, 1], exit=[2, 0, 1])
    assert SGrpo()(batch).reward.tolist() == [0.25, 1, 0.5]
    assert not Grpo()(batch).advantage.any()


def test_one_right_exit_is_grpo_without_the_deviation_and_none_is_nothing() -> None:
    assert SGrpo()(rollouts([0, 0, 1, 0], exit=range(4))).advantage.tolist() == [-0.25, -0.25, 0.75, -0.25]
    assert not SGrpo()(rollouts([0, 0, 0], exit=range(3))).advantage.any()


def test_groups_are_told_apart_when_their_rows_are_mixed() -> None:
    shaped = SGrpo()(rollouts([1, 1, 1, 0], exit=[0, 0, 1, 1], group=["a", "b", "a", "b"]))
    assert shaped.reward.tolist() == [1, 1, 0.5, 0]
    assert shaped.advantage.tolist() == [0.25, 0.5, -0.25, -0.5]


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_a_later_right_exit_is_worth_half_the_one_before_and_a_wrong_one_nothing(correct: list[bool]) -> None:
    reward = serial_reward(correct, range(len(correct)))
    right = reward[np.array(correct)]
    assert right.tolist() == [0.5**k for k in range(sum(correct))]
    assert reward[~np.array(correct)].sum() == 0


@given(st.integers(0, 500), st.integers(1, 9), st.sampled_from(["random", "even"]), st.integers(0, 9))
def test_exits_stand_within_the_thinking_in_order(thought: int, exits: int, places: Any, seed: int) -> None:
    found = list(exit_places(thought, exits, places, seed))
    assert len(found) == exits
    assert found == sorted(found)
    assert all(0 <= at <= thought for at in found)


STORY = "7*6=42 so 42 Wait 42 ok</think>42"


def script(so_far: str, request: object) -> str:
    """The story; whoever is made to stop before it has said 42 does not know."""
    if STORY.startswith(so_far):
        return STORY[len(so_far) :] or "<|end|>"
    thinking, _, answer = so_far.partition("</think>")
    return ("42" if "42" in thinking else "?")[len(answer) :] or "<|end|>"


def roll(shaper: SGrpo, size: int, engine: ScriptedEngine, **limits: Any) -> tuple[list[dict[str, Any]], Session]:
    async def never(chain: Chain) -> bool:
        raise AssertionError("nothing has to be judged on the way")

    async def run() -> tuple[list[dict[str, Any]], Session]:
        async with Session(engine, Problem(id="p", task="t", question="q", answer="42"), **limits) as session:
            group = await shaper.roll(session, size, never)
            told = [
                {
                    "text": one.chain.text, "answer": one.chain.answer_text, "ended": one.chain.ended,
                    "mask": one.mask, "ids": one.chain.after_prompt(), **one.columns,
                }
                for one in group
            ]  # fmt: skip
        return told, session

    return asyncio.run(run())


def test_a_group_is_one_chain_and_what_it_would_have_answered_earlier() -> None:
    engine = ScriptedEngine(script)
    told, session = roll(SGrpo(places="even", train="answer"), 5, engine)
    assert [row["exit"] for row in told] == [0, 1, 2, 3, 4]
    assert [row["answer"] for row in told] == ["?", "42", "42", "42", "42"]
    assert [row["ended"] for row in told] == ["rule"] * 4 + ["model"]
    assert told[-1]["text"].startswith(STORY)
    assert all(told[-1]["text"].startswith(row["text"].partition("</think>")[0]) for row in told)
    assert engine.open_sequences == 0
    ledger = session.close_ledger(None)
    assert ledger.spent == engine.tokens == len(told[-1]["ids"]) + sum(sum(row["mask"]) for row in told[:-1])


@pytest.mark.parametrize(("train", "counted"), [("answer", 2), ("prefix", 8), ("all", 9)])
def test_which_tokens_of_an_exit_are_trained_on(train: Any, counted: int) -> None:
    # Six tokens of thinking (`a b c ` of eleven), an injected `</think>`, then `?` and the end of the turn.
    told, _ = roll(SGrpo(places="even", train=train), 4, ScriptedEngine("a b c d e f</think>42"))
    exit_, whole = told[1], told[-1]
    assert len(exit_["mask"]) == len(exit_["ids"]) == 9
    assert sum(exit_["mask"]) == counted
    assert exit_["mask"][6] == (train == "all")
    assert all(whole["mask"])


def test_a_chain_that_the_limit_ends_has_no_answer_and_its_exits_have() -> None:
    told, _ = roll(SGrpo(places="even"), 3, ScriptedEngine("a " * 90), chain_limit=40)
    assert [row["ended"] for row in told] == ["rule", "rule", "limit"]
    assert [row["answer"] for row in told] == ["?", "?", ""]
    assert len(told[-1]["ids"]) == 20  # 40 less the reserve for an answer


def test_a_model_that_answers_without_a_thought_has_exits_too() -> None:
    told, _ = roll(SGrpo(), 3, ScriptedEngine("</think>7"))
    assert [row["text"] for row in told] == ["</think>7<|end|>"] * 3
