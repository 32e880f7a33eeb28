"""Trainings of a LoRA adapter: what they leave loads on top of its model, on top of another adapter too."""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

if importlib.util.find_spec("trl") is None or importlib.util.find_spec("peft") is None:
    pytest.skip("needs the extra `train`", allow_module_level=True)

import torch
from tests.engines.conftest import save_tiny
from transformers import AutoModelForCausalLM

from satisfice.catalog import build
from satisfice.core.shaper import SHAPER
from satisfice.models.resolve import model_folder
from satisfice.tasks import load_task
from satisfice.training.adapter import plain_weights, save_adapter, with_adapter
from satisfice.training.folder import read_steps
from satisfice.training.plan import TrainPlan
from satisfice.training.rollout import DirectJudge
from satisfice.training.run import train

# peft 0.21 asks transformers 5 for a name that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def test_plain_weights_are_those_of_the_merged_model_and_leave_the_model_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = save_tiny(tmp_path / "tiny")
    model = AutoModelForCausalLM.from_pretrained(folder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert plain_weights(model).keys() == before.keys()
    wrapped = with_adapter(model, 4, seed=1)
    assert all(torch.equal(value, before[name]) for name, value in plain_weights(wrapped).items())
    for name, value in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.2)
    found = plain_weights(wrapped)
    changed = {name for name, value in found.items() if not torch.equal(value, before[name])}
    assert {name.split(".")[-2] for name in changed} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    save_adapter(wrapped, tmp_path / "adapter", "named")
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == "named"
    merged = AutoModelForCausalLM.from_pretrained(model_folder(f"{folder}+{tmp_path / 'adapter'}"))
    for name, value in merged.state_dict().items():
        torch.testing.assert_close(found[name], value)


@pytest.mark.slow
def test_an_adapter_is_trained_resumed_loaded_and_trained_upon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    task = load_task("chain-sum:easy", split="train", limit=12)
    plan = TrainPlan(
        model="pocket", tasks=(task,), shaper=build("cosine-length(limit=96)", SHAPER), steps=2, prompts=2,
        group=4, max_tokens=96, temperature=1.1, learning_rate=3e-3, save_every=1, keep_every=1, lora=4,
    )  # fmt: skip
    assert plan.shaper.loss.kl > 0  # then TRL keeps a second adapter as reference
    first, judge = tmp_path / "first", DirectJudge([task])
    train(plan, first, judge)
    weights = (first / "model" / "adapter_model.safetensors").read_bytes()
    assert len(weights) < 1_000_000
    assert {path.name for path in (first / "model").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert plan.outcome(first) == f"pocket+{first / 'model'}"
    halfway = (first / "model-1" / "adapter_model.safetensors").read_bytes()
    assert len(halfway) == len(weights)
    assert halfway != weights
    assert not (first / "model-2").exists()  # the last has its own name
    trained, pocket = model_folder(plan.outcome(first)), model_folder("pocket")
    assert (trained / "profile.json").read_bytes() == (pocket / "profile.json").read_bytes()
    ids = torch.arange(6, 30)[None]
    with torch.no_grad():
        now, then = (AutoModelForCausalLM.from_pretrained(folder)(ids).logits for folder in (trained, pocket))
    assert (now - then).abs().max() > 1e-3

    shutil.rmtree(first / "model")  # as if it had been killed after its first step
    shutil.rmtree(first / "checkpoints" / "checkpoint-2")
    train(plan, first, judge)
    assert (first / "model" / "adapter_model.safetensors").read_bytes() == weights

    shutil.rmtree(first / "model")  # as if it had been killed before it put the model there: nothing is left to train
    train(plan, first, judge)
    assert (first / "model" / "adapter_model.safetensors").read_bytes() == weights
    assert [row["step"] for row in read_steps(first)] == [1, 2]

    further = replace(plan, model=plan.outcome(first), steps=1, rollout_dtype="bfloat16")
    assert train(further, tmp_path / "second", judge)["environment"]["dtype"] == "bfloat16"
    assert further.outcome(tmp_path / "second") == f"pocket+{first / 'model'}+{tmp_path / 'second' / 'model'}"
    assert (model_folder(further.outcome(tmp_path / "second")) / "model.safetensors").exists()
