"""Beginnings of rollouts: which tokens they are, what their continuations say, and when they grow."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.chain import Chain
from satisfice.core.errors import BadInput
from satisfice.core.problem import Problem
from satisfice.core.session import Session
from satisfice.engines.scripted import ScriptedEngine
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.pppo import Pppo, continued_reward, prefix_lengths, prefix_mask
from satisfice.testing import rollouts

RIGHT = np.array([[1, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]])
BATCH = rollouts([1, 0, 0], [20, 33, 20], continuations_right=RIGHT.sum(1), mask=np.tri(3, 33, 33) > 0)


def mask_of(*lengths: int) -> np.ndarray:
    return np.arange(max(lengths)) < np.array(lengths)[:, None]


def test_worked_example_of_the_beginnings() -> None:
    assert prefix_lengths([20, 33], 0.15).tolist() == [3, 4]
    assert prefix_mask(mask_of(20, 33), 0.15).sum(1).tolist() == [3, 4]


def test_worked_example_of_the_reward() -> None:
    batch = rollouts([1, 0, 0], [20, 20, 20], continuations_right=RIGHT.sum(1), mask=mask_of(20, 20, 20))
    assert continued_reward(RIGHT.sum(1), [1, 0, 0]).tolist() == [4, 1, 0]
    shaped = Pppo()(batch)
    assert shaped.advantage == pytest.approx([1.1209, -0.3203, -0.8006], abs=1e-4)
    population = Pppo(advantage=Grpo(ddof=0, kl=0))(batch)
    assert population.advantage == pytest.approx([1.3728, -0.3922, -0.9806], abs=1e-4)


def test_the_denominator_is_every_token_and_not_those_that_are_trained() -> None:
    batch = rollouts([1, 0], [20, 40], continuations_right=[4, 0], mask=mask_of(20, 40))
    shaper = Pppo(advantage=Grpo(kl=0, aggregation="token"))
    shaped, zero = shaper(batch), np.zeros((2, 40))
    counted = shaped.weight.sum(1)  # type: ignore[union-attr]
    assert counted.tolist() == [3, 6]
    whole = -(shaped.advantage * counted).sum() / 60
    assert shaper.loss.policy_loss(shaped, zero, zero, batch["mask"]) == pytest.approx(whole)
    assert shaped.metrics["trained_share"] == pytest.approx(9 / 60)


def test_a_group_that_is_all_right_can_still_differ_and_one_without_a_right_one_says_nothing() -> None:
    mask = mask_of(20, 20)
    assert Pppo()(rollouts([1, 1], continuations_right=[8, 2], mask=mask)).advantage[0] > 0
    assert not Pppo()(rollouts([0, 0], continuations_right=[0, 0], mask=mask)).advantage.any()


def test_a_rollout_too_short_for_a_beginning_is_left_out_and_its_siblings_are_not() -> None:
    shaped = Pppo()(rollouts([1, 0], [5, 20], continuations_right=[1, 0], mask=mask_of(5, 20)))
    assert shaped.keep.tolist() == [False, True]


def test_what_is_kept_grows_when_accuracy_has_stopped_rising_and_only_so_far() -> None:
    shaper, etas = Pppo(every=2), []
    state = shaper.init()
    assert [shaper.monitor_due({**state, "step": n}) for n in range(4)] == [True, False, True, False]
    for right in (1, 2, 2, 3, 3, 3, 3, 3, 3):
        state = shaper.monitor(state, rollouts([1] * right + [0] * (4 - right)))
        etas.append(state["eta"])
    assert etas == [0.15, 0.15, 0.20, 0.20, 0.25, 0.30, 0.35, 0.35, 0.35]
    assert shaper(BATCH, state).metrics["eta"] == 0.35


@given(st.lists(st.integers(1, 400), min_size=1, max_size=6), st.floats(0, 1))
def test_a_beginning_is_the_first_tokens_and_their_share(lengths: list[int], eta: float) -> None:
    kept = prefix_mask(mask_of(*lengths), eta)
    assert kept.sum(1).tolist() == prefix_lengths(lengths, eta).tolist()
    assert (np.diff(kept, axis=1) <= 0).all()
    assert (kept.sum(1) <= eta * np.array(lengths) + 1e-6).all()


def test_injected_tokens_are_no_part_of_the_share() -> None:
    mask = np.array([[1, 1, 0, 0, 1, 1, 1, 1]])
    assert prefix_mask(mask, 0.5).tolist() == [[1, 1, 0, 0, 1, 0, 0, 0]]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match=r"first must not exceed last \(0.35\), got 0.5"):
        Pppo(first=0.5)


def test_continuations_begin_where_the_beginning_ends_and_are_judged_and_given_up() -> None:
    begun: list[str] = []

    def script(so_far: str, request: object) -> dict[str, float] | str:
        steps = so_far.count("a") + so_far.count("b")
        if "</think>" in so_far:
            return "1" if so_far.endswith("</think>") else "<|end|>"
        return "</think>" if steps == 10 else {"a": 0.5, "b": 0.5}

    async def right(chain: Chain) -> bool:
        begun.append(chain.thinking)
        return chain.thinking.startswith("a")

    async def run() -> None:
        problem = Problem(id="p", task="t", question="q", answer="1")
        async with Session(engine, problem, temperature=1.0) as session:
            group = await Pppo(first=0.35, continuations=3).roll(session, 4, right)
            for place, rolled in enumerate(group):
                begin = rolled.chain.thinking[:4]  # 35 % of ten tokens, `</think>`, `1` and the end of the turn
                assert all(text[:4] == begin for text in begun[3 * place : 3 * place + 3])
                assert rolled.columns["continuations_right"] == 3 * (begin[0] == "a")
                assert rolled.mask is None
        assert len(begun) == 12
        assert len(set(begun)) > 6  # they go on as they like
        assert session.close_ledger(None).spent == engine.tokens == 4 * 13 + 12 * (13 - 4)

    engine = ScriptedEngine(script)
    asyncio.run(run())
    assert engine.open_sequences == 0
