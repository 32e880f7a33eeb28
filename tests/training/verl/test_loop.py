"""The agent loop and the reward manager, made as verl makes them from its own configuration; no Ray."""

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from satisfice.core.problem import Verdict
from satisfice.engines.local.engine import LocalEngine
from satisfice.methods import shaping
from satisfice.models.resolve import model_folder
from satisfice.tasks import load_task
from satisfice.training.verl.batch import reward_of
from satisfice.training.verl.prepare import rows_of, run_settings, write_rows, write_run

if importlib.util.find_spec("verl") is None:
    pytest.skip("needs the environment of verl", allow_module_level=True)

pytestmark = [pytest.mark.verl, pytest.mark.filterwarnings("ignore")]

sys.path.insert(0, str(Path(__file__).parent))
TASK = load_task("chain-sum:easy", split="train", limit=4)


def config_for(out: Path, shaper: Any, *overrides: str) -> Any:
    """What verl's command would make of a prepared run."""
    from hydra import compose, initialize_config_dir

    write_rows(out / "train.parquet", [TASK])
    settings = run_settings(
        shaper, out, model=str(model_folder("pocket")), prompts=2, group=3, max_tokens=200, max_prompt=64, rate=1e-4,
        gpus=0, nodes=1, steps=1,
    )  # fmt: skip
    write_run(shaper, settings, out, gpus=0)
    with initialize_config_dir(str(out), version_base=None):
        return compose("train", overrides=list(overrides))


def outputs(config: Any, row: dict[str, Any], temperature: float = 1.0, **more: Any) -> list[dict[str, Any]]:
    """What the loop hands to verl for one session, in verl's own form."""
    from test_server import Client
    from transformers import AutoTokenizer
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap
    from verl.utils.dataset.rl_dataset import RLHFDataset

    from satisfice.training.verl.loop import ShapedLoop

    async def run() -> list[dict[str, Any]]:
        async with LocalEngine("pocket") as engine:
            loop = ShapedLoop(
                DictConfigWrap(config), Client(engine), AutoTokenizer.from_pretrained(model_folder("pocket")), None,
                RLHFDataset, DictConfigWrap(config.data),
            )  # fmt: skip
            found = await loop.run({"temperature": temperature, "top_p": 1.0}, **row, **more)
            return [output.as_dict() for output in found]

    return asyncio.run(run())


def row_of(number: int) -> dict[str, Any]:
    row = rows_of(TASK)[number]
    return {**row, "raw_prompt": row["prompt"], "session_id": 0, "global_steps": 1}


def test_a_rollout_carries_its_verdict_and_its_columns(tmp_path: Path) -> None:
    config = config_for(tmp_path, shaping.Grpo())
    (got,) = outputs(config, row_of(0), temperature=0.0)
    own = got["extra_fields"]["satisfice"]
    assert own["prompt"] == TASK.problems[0].id
    assert own["length"] == len(got["responses"]) == int(got["response_mask"].sum())
    assert float(got["rm_scores"].sum()) == reward_of(Verdict(own["verdict"]), own["truncated"])
    assert own["columns"].keys() >= {"step_count", "words", "well_formed"}
    assert got["extra_fields"]["reward_extra_info"]["acc"] == own["acc"]


def test_a_cap_and_a_stop_rule_are_heard(tmp_path: Path) -> None:
    config = config_for(tmp_path, shaping.Grpo())
    (got,) = outputs(config, row_of(0), satisfice_limit=7)
    assert len(got["responses"]) == 7
    assert got["extra_fields"]["satisfice"]["truncated"]

    ruled = config_for(tmp_path, shaping.Grpo(), "+algorithm.policy='fixed-budget:20'")
    (got,) = outputs(ruled, row_of(1))
    mask = got["response_mask"]
    assert 0 < int(mask.sum()) < len(mask)  # what closed the thinking was put in, and is kept out of the loss
    assert mask[:20].all()
    assert got["extra_fields"]["satisfice"]["length"] == int(mask.sum())


def test_a_steering_shaper_makes_the_whole_group_in_one_session(tmp_path: Path) -> None:
    config = config_for(tmp_path, shaping.FAMILY.methods["s-grpo"]())
    group = outputs(config, row_of(2), satisfice_state="{}")
    assert [got["extra_fields"]["satisfice"]["columns"]["exit"] for got in group] == [0, 1, 2]
    for got in group:  # each its own verdict, though verl hands the last one's to all
        own = got["extra_fields"]["satisfice"]
        assert float(got["rm_scores"].sum()) == reward_of(Verdict(own["verdict"]), own["truncated"])


def test_the_users_own_function_judges_and_brings_columns(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def score(data_source, solution_str, ground_truth, extra_info):\n"
        "    return {'score': float('</think>' in solution_str), 'score2': 3.0}\n"
    )
    config = config_for(
        tmp_path, shaping.Grpo(), f"reward.custom_reward_function.path={tmp_path / 'mine.py'}",
        "reward.custom_reward_function.name=score",
    )  # fmt: skip
    (got,) = outputs(config, row_of(0), temperature=0.0)
    own = got["extra_fields"]["satisfice"]
    assert (own["verdict"], own["columns"]["score2"]) == ("right", 3.0)
    (got,) = outputs(config, row_of(0), temperature=0.0, satisfice_limit=5)
    assert got["extra_fields"]["satisfice"]["verdict"] == "wrong"


def test_the_reward_manager_says_what_the_loop_says(tmp_path: Path) -> None:
    import numpy as np
    import torch
    from transformers import AutoTokenizer
    from verl.protocol import DataProto
    from verl.trainer.ppo.reward import load_reward_manager

    config = config_for(tmp_path, shaping.Grpo())
    for number, more in ((0, {}), (1, {}), (2, {"satisfice_limit": 6})):
        row = row_of(number)
        (got,) = outputs(config, row, temperature=0.0, **more)
        prompts, responses = got["prompts"][None], got["responses"][None]
        width = prompts.shape[1] + responses.shape[1]
        data = DataProto.from_dict(
            tensors={
                "prompts": prompts,
                "responses": torch.cat([responses, torch.zeros(1, 3, dtype=torch.int64)], 1),
                "attention_mask": torch.cat([torch.ones(1, width), torch.zeros(1, 3)], 1).long(),
            },
            non_tensors={
                key: np.array([row[key]], dtype=object)
                for key in ("data_source", "reward_model", "extra_info", "raw_prompt")
            },
        )
        manager = load_reward_manager(config, AutoTokenizer.from_pretrained(model_folder("pocket")))
        told = asyncio.run(manager.run_single(data))
        assert told["reward_score"] == float(got["rm_scores"].sum())
        assert told["reward_extra_info"]["acc"] == got["extra_fields"]["satisfice"]["acc"]
