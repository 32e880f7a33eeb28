"""Repairs: which attempts are examples, what they weigh, and the chains that make them."""

import asyncio
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.chain import Chain
from satisfice.core.problem import Problem
from satisfice.core.session import Session
from satisfice.engines.scripted import ScriptedEngine
from satisfice.methods.shaping.rise import Example, Rise, improvement_examples, repair, reward_weights
from satisfice.testing import rollouts


def test_weights_are_the_exponential_of_the_reward_or_the_reward_itself() -> None:
    batch = rollouts([1, 0, 1])
    assert Rise(temperature=0.5)(batch).advantage == pytest.approx([1, math.exp(-2), 1])
    assert Rise(weighing="reward")(batch).advantage.tolist() == [1, 0, 1]
    assert np.isfinite(reward_weights([1e6, 1e6 + 1])).all()  # no overflow


def test_the_default_temperature_is_the_codes() -> None:
    weight = Rise()(rollouts([1, 0])).advantage
    assert weight[0] / weight[1] == pytest.approx(12.18, abs=0.01)


@settings(max_examples=200)
@given(st.lists(st.booleans(), min_size=1, max_size=8), st.floats(0.1, 5))
def test_weights_of_an_attempt_do_not_depend_on_the_others_and_are_the_codes_in_another_unit(
    right: list[bool], temperature: float
) -> None:
    weight = Rise(temperature=temperature)(rollouts(right)).advantage
    code = np.exp(np.asarray(right, float) / temperature)  # what the released script stores with each example
    assert weight * math.exp(1 / temperature) == pytest.approx(code)


def test_the_loss_is_weighted_imitation() -> None:
    batch, logprob = rollouts([1, 0], [2, 2]), np.array([[-1.0, -3.0], [-2.0, -4.0]])
    shaped = Rise(weighing="reward")(batch)
    assert Rise().loss.policy_loss(shaped, logprob, logprob, np.ones((2, 2))) == pytest.approx((1 + 3) / 4)


def test_examples_ask_again_with_the_wrong_attempt_until_one_is_right() -> None:
    found = improvement_examples("2+2?", ["3", "5", "4", "9"], lambda wrong: "4", lambda answer: answer == "4")
    assert found == [
        Example(question="2+2?", answer="4", weight=1.0, turn=1),
        Example(question=repair("2+2?", "3"), answer="4", weight=1.0, turn=2),
        Example(question=repair("2+2?", "5"), answer="4", weight=1.0, turn=3),
    ]


def test_without_anything_better_a_wrong_attempt_is_no_example_and_a_better_wrong_one_weighs_less() -> None:
    right = "4".__eq__
    assert [e.turn for e in improvement_examples("q", ["3", "4"], lambda wrong: None, right)] == [2]
    weights = [e.weight for e in improvement_examples("q", ["3", "4"], lambda wrong: "3.9", right, temperature=0.5)]
    assert weights == pytest.approx([math.exp(-2), 1])
    assert improvement_examples("q", ["4"], lambda wrong: "", right) == [
        Example(question="q", answer="4", weight=1, turn=1)
    ]


def test_attempts_are_repaired_while_they_are_wrong_and_begun_anew_when_right() -> None:
    engine = ScriptedEngine("</think>3")
    judged: list[str] = []

    async def right(chain: Chain) -> bool:
        judged.append(engine.decode(chain.ids[: chain.prompt_length]))
        return len(judged) == 2

    async def run() -> list[float]:
        async with Session(engine, Problem(id="p", task="t", question="2+2?", answer="4")) as session:
            return [one.columns["turns"] for one in await Rise(turns=3).roll(session, 6, right)]

    assert asyncio.run(run()) == [1, 2, 1, 2, 3, 1]
    asked = [text.removesuffix("<think>") for text in judged]
    assert asked[:2] == ["2+2?", repair("2+2?", "3")]
    assert engine.open_sequences == 0
