"""Two modes in one group: which is preferred, what it earns, and the chains that are made to have them."""

import asyncio
from typing import Any

import numpy as np
import pytest

from satisfice.core.chain import Chain
from satisfice.core.problem import Problem
from satisfice.core.session import Session
from satisfice.engines.scripted import ScriptedEngine
from satisfice.methods.shaping.adaptive_deep_reasoning import LONG, SHORT, AdaptiveDeepReasoning, ModeMargin, mode_hinge
from satisfice.methods.shaping.grpo import Grpo
from satisfice.testing import rollouts

MODES = [0, 0, 0, 0, 1, 1, 1, 1]


def test_worked_example_of_an_easy_prompt_whose_long_right_answers_lose() -> None:
    shaped = AdaptiveDeepReasoning()(rollouts([1, 1, 1, 0, 1, 1, 1, 1], mode=MODES))
    assert shaped.reward.tolist() == [1.5, 1.5, 1.5, 0, 1, 1, 1, 1]
    assert shaped.reward.mean() == 1.0625
    assert shaped.advantage == pytest.approx([0.8829] * 3 + [-2.1442] + [-0.1261] * 4, abs=1e-4)
    assert shaped.columns["wanted_mode"].tolist() == [-1 / 8] * 8
    assert shaped.metrics == {"prefer_brief": 1, "brief_right": 0.75, "long_right": 1}


def test_worked_example_of_the_hinge() -> None:
    assert mode_hinge(1.2, 1.5) == pytest.approx(1.3)
    assert mode_hinge(3.0, 1.5) == 0


def test_a_hard_prompt_prefers_length_and_one_that_neither_mode_solves_nothing() -> None:
    shaped = AdaptiveDeepReasoning()(
        rollouts([1, 1, 0, 0, 1, 1, 1, 1, *[0] * 8], mode=MODES * 2, group=[0] * 8 + [1] * 8)
    )
    assert shaped.reward[:8].tolist() == [1, 1, 0, 0, 1.5, 1.5, 1.5, 1.5]
    assert shaped.columns["wanted_mode"].tolist() == [1 / 8] * 8 + [0] * 8
    assert not shaped.advantage[8:].any()


def test_the_loss_of_the_first_token_is_asked_for_or_not() -> None:
    assert AdaptiveDeepReasoning(margin=2).loss.terms == (ModeMargin(margin=2, weight=0.1),)
    assert AdaptiveDeepReasoning(weight=0).loss.terms == ()
    assert AdaptiveDeepReasoning(advantage=Grpo(kl=0.02)).loss.kl == 0.02


def roll(force: Any, size: int) -> tuple[list[tuple[float, str, str]], ScriptedEngine]:
    async def unasked(chain: Chain) -> bool:
        raise AssertionError("nothing has to be judged on the way")

    async def run() -> list[tuple[float, str, str]]:
        async with Session(engine, Problem(id="p", task="t", question="q", answer="4")) as session:
            group = await AdaptiveDeepReasoning(force=force).roll(session, size, unasked)
            assert all(rolled.mask is None for rolled in group)
            return [
                (one.columns["mode"], engine.decode(one.chain.ids[: one.chain.prompt_length]), one.chain.text)
                for one in group
            ]

    engine = ScriptedEngine(lambda so_far, request: "<|end|>" if so_far.endswith("4") else THINKS(so_far))
    return asyncio.run(run()), engine


def THINKS(so_far: str) -> str:
    story = "2+2 </think>4"
    return story[len(so_far) :] if story.startswith(so_far) else "4"


def test_half_of_a_group_is_made_to_skip_its_thinking() -> None:
    told, engine = roll("skip", 5)
    assert [mode for mode, _, _ in told] == [1, 1, 1, 0, 0]
    assert [text for _, _, text in told] == ["2+2 </think>4<|end|>"] * 3 + ["</think>4<|end|>"] * 2
    assert engine.open_sequences == 0


def test_or_is_asked_to_in_the_prompt() -> None:
    told, _ = roll("instruction", 4)
    asked = [prompt.removesuffix("<think>") for _, prompt, _ in told]
    assert asked == [f"q{LONG}"] * 2 + [f"q{SHORT}"] * 2


def test_a_group_of_one_mode_prefers_what_it_can_tell() -> None:
    shaped = AdaptiveDeepReasoning()(rollouts([1, 0], mode=[1, 1]))
    assert shaped.columns["wanted_mode"].tolist() == [0.5, 0.5]
    assert np.isfinite(shaped.advantage).all()
