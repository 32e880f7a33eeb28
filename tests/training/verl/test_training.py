"""A real training by verl on a CPU: its driver, its queue, its workers, its checkpoints. Minutes."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("verl") is None:
    pytest.skip("needs the environment of verl", allow_module_level=True)

pytestmark = [pytest.mark.verl, pytest.mark.slow]

ENVIRONMENT = {
    **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "RAY_worker_niceness": "0",
    "PYTHONWARNINGS": "ignore",
}  # fmt: skip


def prepared(out: Path, shaper: str, *more: str) -> Path:
    """A run of two steps on the pocket model: four problems, four rollouts each."""
    from satisfice.engines.local import model_folder

    command = [
        sys.executable, "-m", "satisfice.training.verl.prepare", "--shaper", shaper, "--gpus", "0", "--out", str(out),
        "--model", str(model_folder("pocket")), "--tasks", "chain-sum:easy", "--limit", "16", "--val-limit", "4",
        "--prompts", "4", "--group", "4", "--max-tokens", "160", "--max-prompt", "64", "--steps", "2",
        "--learning-rate", "3e-4", *more,
    ]  # fmt: skip
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=300)
    return out


def trained(out: Path, *settings: str) -> list[dict[str, float]]:
    """The figures of each step of verl's log."""
    command = ["bash", str(out / "train.sh"), "trainer.val_before_train=False", "trainer.test_freq=-1", *settings]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    lines = re.findall(r"step:\d+ - .*", done.stdout)
    numbers = (re.findall(r"([\w/]+):(?:np\.\w+\()?(-?[\d.]+(?:e-?\d+)?)", line) for line in lines)
    return [{name: float(value) for name, value in row} for row in numbers]


def test_a_training_with_caps_and_its_resumption(tmp_path: Path) -> None:
    out = prepared(tmp_path / "run", "thinkprune(first=120, last=40, drop=40, stage_steps=1)")
    one, two = trained(out)
    assert (one["shaping/cap"], two["shaping/cap"]) == (120, 80)
    assert one["response_length/max"] <= 120
    assert two["response_length/max"] <= 80  # our agent loop heard the cap
    assert 0 < one["rollouts/accuracy"] <= 1
    assert one["actor/grad_norm"] > 0
    assert one["critic/score/mean"] == pytest.approx(one["rollouts/accuracy"], abs=0.01)
    state = json.loads((out / "checkpoints" / "global_step_2" / "satisfice.json").read_text())
    assert state["shaper"] == "thinkprune"

    (three,) = trained(out, "trainer.total_training_steps=3")
    assert three["shaping/cap"] == 40  # not where it began: the state went through the checkpoint
    assert three["training/global_step"] == 3


def test_a_shaper_that_makes_its_own_groups(tmp_path: Path) -> None:
    rows = trained(prepared(tmp_path / "run", "s-grpo"), "trainer.total_training_steps=1", "trainer.save_freq=-1")
    (row,) = rows
    assert "shaping/exits_right" in row
    assert row["actor/grad_norm"] >= 0
    # Twelve exits of sixteen rollouts: of them the loss counts the answers alone, and verl's length is what it counts.
    assert row["rollouts/length"] > 0
