"""A training's plan: what is refused, how a step is shared out, what makes two trainings the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from satisfice.core.errors import BadInput
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.kimi_length import KimiLength
from satisfice.methods.shaping.t_ppo import TPpo
from satisfice.tasks import load_task
from satisfice.training.plan import TrainPlan

EASY = load_task("chain-sum:easy", split="train", limit=6)
HARD = load_task("chain-sum:hard", split="train", limit=4)
PLAN = TrainPlan(model="pocket", tasks=(EASY, HARD), shaper=Grpo(), steps=3, prompts=4, group=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, r"steps must be a whole number \(at least 1\), got 0"),
        ({"group": 1}, r"group must be a whole number \(at least 2\)"),
        ({"temperature": 0}, "temperature must be above 0"),
        ({"learning_rate": 2}, "learning-rate must be between"),
        ({"report_to": "paper"}, "unknown report-to 'paper'"),
        ({"prompts": 11}, "prompts must be at most 10"),
        ({"tasks": (EASY, EASY)}, "each once"),
        ({"tasks": ()}, "at least one"),
        ({"rollout_dtype": "float16"}, "unknown rollout-dtype 'float16'. Did you mean 'bfloat16'"),
        ({"rollout_dtype": "bfloat16", "rollouts": "transformers"}, "rollout-dtype must be left out"),
        ({"keep_every": -1}, r"keep-every must be a whole number \(at least 0\)"),
        ({"keep_every": 2, "shaper": TPpo()}, "keep-every must be 0 for a method with a value head"),
        ({"lora": -1}, r"lora must be a whole number \(at least 0\)"),
        ({"lora": 4, "shaper": TPpo()}, "lora must be 0 for a method with a value head"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        replace(PLAN, **changes)


def test_tasks_take_turns_and_each_question_comes_once() -> None:
    assert [p.task for p in PLAN.problems] == [EASY.name, HARD.name] * 4 + [EASY.name] * 2
    assert len({p.question for p in PLAN.problems}) == 10


@pytest.mark.parametrize(
    ("part", "updates", "processes", "parts"), [(16, 1, 1, 1), (8, 1, 1, 2), (5, 1, 1, 4), (16, 2, 1, 1), (4, 1, 2, 2)]
)
def test_a_step_is_shared_out_evenly_in_parts_that_fit(part: int, updates: int, processes: int, parts: int) -> None:
    assert replace(PLAN, part=part, updates=updates).parts(processes) == parts


def test_a_step_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(BadInput, match=r"16 rollouts .* among 3 processes"):
        PLAN.parts(3)


def test_the_config_names_everything_that_can_change_a_weight_and_nothing_else() -> None:
    config = PLAN.config("abc")
    assert config == replace(PLAN, save_every=1, keep_every=1, report_to="wandb").config("abc")
    for change in (
        {"seed": 1},
        {"shaper": KimiLength()},
        {"tasks": (EASY,)},
        {"steps": 4},
        {"max_tokens": 9},
        {"lora": 4},
        {"rollout_dtype": "bfloat16"},
    ):
        assert replace(PLAN, **change).config("abc") != config
    assert PLAN.config("other") != config


def test_what_comes_out_has_a_name() -> None:
    assert PLAN.outcome(Path("runs/x")) == "runs/x/model"
    assert replace(PLAN, lora=4).outcome(Path("runs/x")) == "pocket+runs/x/model"
    assert PLAN.outcome(Path("runs/x"), 1) == "runs/x/model-1"
    assert PLAN.outcome(Path("runs/x"), PLAN.steps) == "runs/x/model"
