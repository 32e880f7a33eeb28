"""`satisfice train` from end to end: killed, resumed, and the same as if nothing had happened."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from satisfice.cli.main import app
from satisfice.training.checkpoint import STATE_FILE

if importlib.util.find_spec("trl") is None:
    pytest.skip("needs the extra `train`", allow_module_level=True)

ARGUMENTS = (
    "train", "--shaper", "palu(longest=96, floor=16)", "--tasks", "chain-sum:easy", "--limit", "12", "--steps", "3",
    "--prompts", "2", "--group", "4", "--max-tokens", "96", "--save-every", "1", "--learning-rate", "0.001",
)  # fmt: skip
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def satisfice(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "satisfice.cli", *arguments]


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_with_the_same_weights_and_state(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run = subprocess.run(
        satisfice(*ARGUMENTS, "--out", str(whole), "--eval-limit", "4"), env=ENV, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    started = subprocess.Popen(
        satisfice(*ARGUMENTS, "--out", str(parts), "--eval-limit", "0"), env=ENV, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 600
        while not (parts / "checkpoints" / "checkpoint-1" / STATE_FILE).exists():
            assert started.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()
    assert not (parts / "model").exists()
    again = subprocess.run(
        satisfice(*ARGUMENTS, "--out", str(parts), "--eval-limit", "0"), env=ENV, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr[-3000:]
    assert "Going on: " in again.stderr
    weights = [(out / "model" / "model.safetensors").read_bytes() for out in (whole, parts)]
    assert weights[0] == weights[1]
    runs = [json.loads((out / "train.json").read_text()) for out in (whole, parts)]
    assert runs[0]["state"] == runs[1]["state"] != {"budgets": {}}
    steps = [[json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()] for out in (whole, parts)]
    assert [row["step"] for row in steps[1]] == [1, 2, 3]
    for name in ("rollouts/accuracy", "rollouts/length", "rollouts/spent", "shaping/cap", "loss"):
        assert [row[name] for row in steps[0]] == [row[name] for row in steps[1]]
    shutil.rmtree(parts / "model")  # as if it had been killed before it put the model there: nothing is left to train
    done = subprocess.run(
        satisfice(*ARGUMENTS, "--out", str(parts), "--eval-limit", "0"), env=ENV, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (parts / "model" / "model.safetensors").read_bytes() == weights[0]
    assert len((parts / "steps.jsonl").read_text().splitlines()) == 3

    card = (whole / "model" / "README.md").read_text()
    assert "| chain-sum:easy@1 | 4 |" in card
    assert "palu(longest=96, floor=16)" in card
    results = json.loads((whole / "eval-after" / "results.json").read_text())  # the model loads in every other command
    assert results["rows"][0]["n"] == 4

    other = subprocess.run(
        satisfice(*ARGUMENTS, "--out", str(parts), "--seed", "7"), env=ENV, capture_output=True, text=True
    )
    assert (other.returncode, "another config (seed: 0 there, 7 here)" in other.stderr.replace("\n", " ")) == (2, True)


@pytest.mark.slow
def test_what_cannot_work_is_refused_in_a_sentence(tmp_path: Path) -> None:
    runner = CliRunner()
    arguments = ["train", "--tasks", "chain-sum:easy", "--limit", "4", "--prompts", "2", "--group", "2"]
    result = runner.invoke(app, [*arguments, "--shaper", "grpo", "--max-tokens", "3", "--out", str(tmp_path / "a")])
    assert "100% of the rollouts run into the limit of 3 tokens" in str(result.exception)
    result = runner.invoke(app, [*arguments, "--shaper", "l1-exact", "--out", str(tmp_path / "b")])
    assert "l1-exact reads budget" in str(result.exception)
    result = runner.invoke(app, [*arguments, "--shaper", "deer", "--out", str(tmp_path / "c")])
    assert "deer is a policy, not a shaper" in str(result.exception)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "thesis.tex").write_text("x")
    result = runner.invoke(app, [*arguments, "--shaper", "grpo", "--out", str(tmp_path / "d")])
    assert "holds no training" in str(result.exception)
