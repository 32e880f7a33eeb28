"""A real training by verl on a CPU: its driver, its queue, its workers, its checkpoints. Minutes."""

import contextlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
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
    from satisfice.models.resolve import model_folder

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
    return figures(["bash", str(out / "train.sh"), *settings], ENVIRONMENT)


def figures(command: list[str], environment: dict[str, str]) -> list[dict[str, float]]:
    """The figures of each step that a command's training logs."""
    command = [*command, "trainer.val_before_train=False", "trainer.test_freq=-1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500)
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


def test_prompts_state_the_budget_of_the_step(tmp_path: Path) -> None:
    out = prepared(tmp_path / "run", "curriculum-budget(start=64, interval=1)")
    dumped = tmp_path / "rollouts"
    one, two = trained(out, f"trainer.rollout_data_dir={dumped}", "trainer.save_freq=-1")
    assert (one["shaping/budget"], two["shaping/budget"]) == pytest.approx((64, 44.8))
    for step, budget in ((1, 64), (2, 44)):
        rows = [json.loads(line) for line in (dumped / f"{step}.jsonl").read_text().splitlines()]
        assert len(rows) == 16
        assert all(f"Use at most {budget} tokens." in row["input"] for row in rows)


def test_a_shaper_that_makes_its_own_groups(tmp_path: Path) -> None:
    rows = trained(prepared(tmp_path / "run", "s-grpo"), "trainer.total_training_steps=1", "trainer.save_freq=-1")
    (row,) = rows
    assert "shaping/exits_right" in row
    assert row["actor/grad_norm"] >= 0
    # Twelve exits of sixteen rollouts: the loss leaves out the words that close them, and so does verl in its lengths.
    assert row["rollouts/length"] > 0


SCRIPT = Path(__file__).parents[3] / "deploy" / "verl" / "several-nodes.sh"


@contextlib.contextmanager
def node(environment: dict[str, str], *arguments: str) -> Iterator[None]:
    """A node of Ray's on loopback, with cores and a GPU that are made up."""
    command = ["bash", str(SCRIPT), *arguments, "--node-ip-address=127.0.0.1", "--num-cpus=8", "--block"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def nodes(environment: dict[str, str], address: str) -> int:
    """How many nodes a cluster has, as far as it tells whoever asks."""
    command = ["ray", "status", "--address", address]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return len(re.findall(r"^ *\d+ node_", told.stdout, re.MULTILINE))


def test_two_nodes_that_share_a_token(tmp_path: Path) -> None:
    out = prepared(tmp_path / "run", "kimi-length", "--nodes", "2")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    address = f"127.0.0.1:{port}"
    environment = {
        **ENVIRONMENT, "OUT": str(out), "GPUS": "1", "PORT": port, "NODES": "2", "VERL_PLATFORM": "satisfice-cpu",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(out / "ray-token")}
    with node(environment, "head"), contextlib.ExitStack() as later:
        for wanted in (1, 2):
            until = time.monotonic() + 120
            while nodes(environment | token, address) < wanted:
                assert time.monotonic() < until
                time.sleep(2)
            if wanted == 1:
                later.enter_context(node(environment, "worker", address))
        assert (out / "ray-token").stat().st_mode & 0o077 == 0
        (tmp_path / "other").write_text("0" * 64)
        assert nodes(environment | token | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "other")}, address) == 0
        ours = ("num_gpus", "num_cpus", "include_dashboard")  # of a cluster that verl would start by itself
        command = ["bash", str(SCRIPT), "train", *(f"~ray_kwargs.ray_init.{name}" for name in ours)]
        command += ["actor_rollout_ref.rollout.agent.num_workers=2", "reward.num_workers=2"]
        rows = figures(command, environment | {"RAY_ADDRESS": address})
    assert {row["training/global_step"] for row in rows} == {1, 2}  # each node's monitor may pass a line on
    assert all(row["actor/grad_norm"] >= 0 and row["rollouts/accuracy"] > 0 for row in rows)
    assert {path.name for path in (out / "checkpoints" / "global_step_2" / "actor").glob("model_*")} == {
        f"model_world_size_2_rank_{rank}.pt" for rank in range(2)
    }
