"""The adapter's script: every stage for a few steps on a random model, resumed to the same weights, and the card."""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.engines.conftest import save_tiny

from satisfice.made.smollm2 import SHOWN, Cycle, card_lines, is_right, make_adapter
from satisfice.made.smollm2_data import train_problems

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("Okay.\n</think>\n\nThe answer is \\boxed{ANSWER}.<|im_end|>", True),
        ("Okay.\n</think>\n\nThe answer is \\boxed{ANSWER}.", False),  # cut off
        ("Okay. The answer is \\boxed{ANSWER}.<|im_end|>", False),  # never closed
        ("</think></think>\\boxed{ANSWER}<|im_end|>", False),
        ("</think>ANSWER<|im_end|>", False),
        ("</think>\\boxed{123456789}<|im_end|>", False),
    ],
)
def test_only_whole_right_chains_are_learned(said: str, right: bool) -> None:
    dataset, _, answer, entry = next(row for row in train_problems(1) if row[0] == "leg_counting")
    assert is_right(dataset, entry, said.replace("ANSWER", answer)) == right


def test_a_cycle_goes_round() -> None:
    batches: Any = ["a", "b", "c"]
    cycle = Cycle(batches, 5)
    assert [cycle[index] for index in range(len(cycle))] == ["a", "b", "c", "a", "b"]


def test_the_card_shows_what_was_measured() -> None:
    row = dict.fromkeys(SHOWN, 0.5) | {"accuracy_low": 0.4, "accuracy_high": 0.6, "thinking_tokens": 210.0}
    options = argparse.Namespace(samples=10, steps=5, rank=8, sharpen_steps=2, seed=0)
    taught = {"stage": "taught", "steps": 400, "loss": [0.5, 0.25]}
    history = {"stage": "adapter", "steps": 60, "loss": [0.125], "after": taught}
    page = "\n".join(card_lines({"n": 300, "tiers": {"leg-counting:easy@1": row}}, options, history))
    assert "| `leg-counting:easy@1` | 0.500 (0.400 to 0.600) | 0.500 |" in page
    assert "on its own right chains" in page
    assert "adapter, 60 steps, loss 0.125; taught, 400 steps, loss 0.250 at the end" in page
    assert "A claim needs 1,500 problems" in page
    assert "A claim" not in "\n".join(card_lines({"n": 1500, "tiers": {}}, options))


@pytest.mark.slow
def test_all_stages_and_a_resumed_run_ends_in_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft", reason="training an adapter needs peft: pip install 'satisfice[train]'")
    pytest.importorskip("accelerate", reason="training needs accelerate: pip install 'satisfice[train]'")
    from safetensors.torch import load_file

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = save_tiny(tmp_path / "base", max_position_embeddings=2048)
    options = argparse.Namespace(
        out=tmp_path / "out", base=str(base), steps=4, tokens=2048, rank=4, learning_rate=1e-2, samples=3, tries=1,
        keep=1, sharpen_steps=2, threads=1, device="cpu", seed=0, start_from=None,
    )  # fmt: skip
    adapter = make_adapter(options)
    assert {path.name for path in adapter.iterdir()} >= {
        "adapter_model.safetensors", "adapter_config.json", "profile.json", "chat_template.jinja", "training.json",
    }  # fmt: skip
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == str(base)
    assert not (adapter / "README.md").exists()  # until there is a card
    first = load_file(tmp_path / "out" / "taught" / "adapter_model.safetensors")
    assert any(value.any() for name, value in first.items() if "lora_B" in name)  # it learned something
    note = json.loads((tmp_path / "out" / "taught" / "training.json").read_text())
    assert note["steps"] == 4
    assert all(later < note["loss"][0] for later in note["loss"][1:])

    (tmp_path / "out" / "card.json").write_text(json.dumps({"n": 20, "tiers": {}}))
    make_adapter(options)  # all is done but the page
    assert "A claim needs" in (adapter / "README.md").read_text()

    shutil.rmtree(tmp_path / "out" / "taught")  # as if it had been killed after its second step
    shutil.rmtree(tmp_path / "out" / "checkpoints-taught" / "checkpoint-4")
    make_adapter(options)
    again = load_file(tmp_path / "out" / "taught" / "adapter_model.safetensors")
    assert all((again[name] == value).all() for name, value in first.items())
    assert len(list(itertools.chain(tmp_path.glob("out/*.part"), tmp_path.glob("out/*.part.npz")))) == 0


@pytest.mark.slow
def test_two_processes_share_the_batches_and_the_own_chains(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="training an adapter needs peft: pip install 'satisfice[train]'")
    from safetensors.torch import load_file

    base = save_tiny(tmp_path / "base", max_position_embeddings=2048)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    ours = ["-m", "satisfice.made.smollm2", "--out", str(out), "--base", str(base), "--threads", "1"]
    small = ["--steps", "3", "--tokens", "1024", "--rank", "2", "--samples", "3", "--tries", "1"]
    done = subprocess.run(
        [*command, "--nproc-per-node", "2", *ours, *small], capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in out.glob("own-*.npz")} == {"own-1-of-2.npz", "own-2-of-2.npz"}
    assert done.stdout.count('"stage": "taught"') == 1  # one of the two writes
    weights = load_file(out / "adapter" / "adapter_model.safetensors")
    assert {str(value.dtype) for value in weights.values()} == {"torch.bfloat16"}
    assert any(value.any() for name, value in weights.items() if "lora_B" in name)
