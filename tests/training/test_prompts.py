"""What a method wants its prompts to state stands in them, in every trainer, and rewards are measured against it."""

import importlib.util
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.errors import BadInput, Unfit
from satisfice.core.problem import Problem
from satisfice.core.shaper import asking, reads, start, with_request
from satisfice.methods.shaping import FAMILY
from satisfice.methods.shaping.curriculum_budget import CurriculumBudget
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.kimi_length import KimiLength
from satisfice.methods.shaping.l1_exact import L1Exact
from satisfice.methods.shaping.l1_max import L1Max
from satisfice.methods.shaping.tldr import Tldr
from satisfice.training.source import made_for
from satisfice.training.verl.estimator import check_alone, check_trained, from_data
from satisfice.training.verl.judging import problem_of, stated

ASKING = ("curriculum-budget", "l1-exact", "l1-max", "tldr")


def problem(number: int = 0, **metadata: object) -> Problem:
    return Problem(id=f"p-{number}", task="t", question="2+2?", answer="4", metadata=metadata)


def test_every_method_that_reads_a_budget_or_a_level_states_it() -> None:
    reading = {name for name, method in FAMILY.methods.items() if reads(method()) & {"budget", "level"}}
    assert reading <= {name for name, method in FAMILY.methods.items() if asking(method()) is not None} == set(ASKING)


@settings(max_examples=200)
@given(st.sampled_from(ASKING), st.integers(0, 10**9), st.integers(0, 900))
def test_the_prompt_says_what_the_reward_is_measured_against(name: str, number: int, step: int) -> None:
    shaper = FAMILY.methods[name]()
    state = {"step": step} if start(shaper) else {}
    asked = with_request(shaper, state, problem(number))
    method = asking(shaper)
    assert method is not None
    value = asked.metadata[method.asks]
    assert asked.question == f"2+2? {method.suffix(value)}"
    assert (asked.id, asked.answer) == (f"p-{number}", "4")
    if method.asks == "budget":
        assert f" {value:g} tokens" in asked.question
    assert asked == with_request(shaper, state, problem(number)), "the same prompt says the same again"
    assert method.asks in made_for(shaper)


def test_budgets_are_drawn_over_the_whole_range() -> None:
    drawn = [with_request(L1Exact(), {}, problem(n)).metadata["budget"] for n in range(2000)]
    assert min(drawn) in range(100, 130)
    assert max(drawn) in range(3970, 4001)
    assert sum(drawn) / 2000 == pytest.approx(2050, rel=0.05)
    assert {with_request(Tldr(), {}, problem(n)).metadata["level"] for n in range(30)} == {0, 1, 2}


def test_the_budget_of_the_data_wins_but_not_over_a_curriculum() -> None:
    own = problem(budget=321)
    assert with_request(L1Max(), {}, own).question == "2+2? Think for maximum 321 tokens."
    asked = with_request(CurriculumBudget(), {"step": 450}, own)
    assert (asked.question, asked.metadata["budget"]) == ("2+2? Use at most 87 tokens.", 87)
    assert with_request(KimiLength(advantage=L1Exact()), {}, own).question == "2+2? Think for 321 tokens."
    assert with_request(Grpo(), {}, own) is own


@pytest.mark.parametrize("odd", ["many", True, [3]])
def test_a_budget_that_is_no_number_is_refused(odd: object) -> None:
    with pytest.raises(BadInput, match="budget of problem p-0 must be a number"):
        with_request(L1Exact(), {}, problem(budget=odd))
    with pytest.raises(BadInput, match="l1-max: least must not exceed most"):
        L1Max(least=500, most=400)
    with pytest.raises(BadInput, match="level must be 0"):
        with_request(Tldr(), {}, problem(level=7))


def row(**info: object) -> dict[str, object]:
    messages = [{"role": "system", "content": "Think."}, {"role": "user", "content": "2+2?"}]
    return {"raw_prompt": messages, "reward_model": {"ground_truth": "4"}, "data_source": "t", "extra_info": info}


def test_verls_rows_state_it_too_and_keep_their_names() -> None:
    for given_id in ({"id": "p-0"}, {}):
        before = row(**given_id)
        after = stated(L1Exact(), {}, before)
        asked = problem_of({**before, **after})
        assert asked.question == f"2+2? Think for {asked.metadata['budget']:g} tokens."
        assert asked.id == problem_of(before).id
        assert after["raw_prompt"][0] == before["raw_prompt"][0]
        assert before == row(**given_id), "nothing is changed in place"
    assert stated(Grpo(), {}, row()) == {}
    assert from_data(L1Exact()) == frozenset()


def test_what_cannot_state_it_is_refused() -> None:
    check_trained(L1Exact())
    for shaper in (L1Exact(), Tldr(), KimiLength(advantage=L1Max())):
        with pytest.raises(Unfit, match="prompts that state the number"):
            check_alone(shaper, kept=True)
    pictures = row()
    pictures["raw_prompt"] = [{"role": "user", "content": [{"type": "image"}]}]
    with pytest.raises(Unfit, match="does not end in text"):
        stated(L1Exact(), {}, pictures)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
def test_an_answer_without_a_token_is_a_rollout_that_was_cut() -> None:
    """As a server that gives nothing back: TRL then hands over an empty list."""
    from satisfice.engines.local.engine import LocalEngine
    from satisfice.tasks import load_task
    from satisfice.training.rollout import Ask, DirectJudge
    from satisfice.training.trl_source import LocalSource, TrlSource

    task = load_task("chain-sum:easy", split="train", limit=1)
    with LocalSource(LocalEngine("pocket"), DirectJudge([task])) as local:
        end = min(local.engine.end_ids)
        source = TrlSource(local)
        source.trainer = SimpleNamespace(
            use_vllm=False, generation_config=SimpleNamespace(), generation_kwargs={}, num_generations=3,
            _generate_single_turn=lambda prompts, *rest: ([[], [end], [5, 6, end]], None),
        )  # fmt: skip
        asks = [Ask(problem=task.problems[0], group=0, limit=2, key=n) for n in range(3)]
        found = source.sample(asks)
    assert [(one.ids, one.truncated) for one in found] == [((), True), ((end,), False), ((5, 6), True)]
    assert found[0].verdict == "wrong"
