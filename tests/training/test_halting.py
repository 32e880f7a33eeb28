"""Stopping a training: what is measured on held-out problems, what a killed run remembers, and hooks that stop."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from satisfice.catalog import build, canonical
from satisfice.core.errors import BadInput
from satisfice.core.shaper import SHAPER
from satisfice.methods.halting.patience import Patience
from satisfice.methods.halting.stop_when import StopWhen
from satisfice.tasks import load_task
from satisfice.training.halting import LOOKS, UNKNOWN_GAIN, HeldOut, Look, Watch, halter_of, metrics
from satisfice.training.plan import TrainPlan

N = 50


def look(right: int, length: float, unknown: int = 0) -> Look:
    order = np.arange(N)
    return Look(
        right=order < right, known=order < N - unknown, length=np.full(N, round(length)), spent=round(length) * N
    )


def test_what_a_condition_may_name() -> None:
    found = metrics(5, look(40, 150), look(45, 200), {})
    assert found["accuracy"] == pytest.approx(0.8)
    assert found["net"] == pytest.approx(-0.1)
    assert found["net_low"] < -0.1 < found["net_high"]
    assert (found["lost"], found["saving"], found["length"]) == (pytest.approx(0.1), pytest.approx(0.25), 150)
    assert found["gain"] == UNKNOWN_GAIN


def test_gain_is_what_a_power_law_leaves_to_save() -> None:
    saving = {float(step): 0.4 - 0.4 * (step / 5) ** -1.0 for step in (5, 10, 15, 20)}
    now = look(45, 200 * (1 - (0.4 - 0.4 * 0.2)))
    assert metrics(25, now, look(45, 200), saving)["gain"] == pytest.approx(0.08, abs=0.005)
    flat = metrics(25, look(45, 150), look(45, 200), dict.fromkeys((5.0, 10.0, 15.0, 20.0), 0.25))
    assert flat["gain"] == pytest.approx(0, abs=1e-9)


def test_unknown_verdicts_are_in_no_comparison_and_none_known_is_an_error() -> None:
    found = metrics(5, look(40, 150, unknown=10), look(45, 200), {})
    assert found["accuracy"] == 1.0  # 40 right of 40 known
    assert found["net"] == 0
    with pytest.raises(BadInput, match="not one verdict is known"):
        metrics(5, look(0, 150, unknown=N), look(45, 200), {})


def test_a_look_survives_json() -> None:
    one = look(20, 90, unknown=3)
    back = Look.of(json.loads(json.dumps(one.as_row())))
    assert (back.right & back.known).tolist() == (one.right & one.known).tolist()
    assert back.known.tolist() == one.known.tolist()
    assert back.length.tolist() == one.length.tolist()


def test_it_stops_where_accuracy_is_lost_and_a_killed_run_decides_alike(tmp_path: Path) -> None:
    file = tmp_path / LOOKS
    looks = [(0, look(45, 200)), (5, look(45, 190)), (10, look(44, 170)), (15, look(40, 150))]
    held = HeldOut(Watch(StopWhen(condition="net<-0.05"), file))
    assert [held.see(step, one).stop for step, one in looks] == [False, False, False, True]
    assert held.summary() == {
        "stopped": True, "why": "net<-0.05 (net is -0.1)", "looks": 4, "tokens": 50 * (200 + 190 + 170 + 150),
    }  # fmt: skip
    again = Watch(StopWhen(condition="net<-0.05"), file)
    assert again.decision == held.watch.decision
    with file.open("a") as torn:
        torn.write('{"step": 20')
    earlier = HeldOut(Watch(StopWhen(condition="net<-0.05"), file, until=10))  # the checkpoint is older than the look
    assert earlier.is_begun
    assert not earlier.watch.decision.stop
    assert len(file.read_text().splitlines()) == 3
    assert earlier.see(15, looks[-1][1]).stop
    assert Watch(Patience(watch="net", patience=2), file).state["since"] == 2


def test_a_text_is_a_halter_or_a_condition() -> None:
    assert halter_of("patience:5") == Patience(patience=5)
    assert halter_of(" net<-0.02 or step>=50") == StopWhen(condition=" net<-0.02 or step>=50")
    with pytest.raises(BadInput, match="cannot be read"):
        halter_of("patiense:5")


def test_a_plan_without_a_halter_is_what_it_was_and_one_with_it_says_so() -> None:
    task = load_task("chain-sum:easy", split="train", limit=16)
    plain = TrainPlan(model="pocket", tasks=(task,), shaper=build("grpo", SHAPER))
    assert not {"stop_when", "held_out", "stop_every"} & plain.config("w").keys()
    held = load_task("chain-sum:easy", split="calibration", limit=5)
    with_halter = dataclasses.replace(plain, stop_when=StopWhen(), held_out=(held,))
    assert with_halter.config("w")["stop_when"] == canonical(StopWhen())
    assert with_halter.config("w")["held_out"]["chain-sum:easy@1"]["n"] == 5
    with pytest.raises(BadInput, match="stop-when must be with some: --held-out"):
        dataclasses.replace(plain, stop_when=StopWhen())


needs_trl = pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="needs the extra `train`")


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers")
def test_any_trainer_stops_at_its_own_evaluations(tmp_path: Path) -> None:
    from satisfice.training.trl_hooks import Halting

    hook, stopped = Halting(Patience(watch="-loss", patience=2), tmp_path / "seen.jsonl"), []
    for step, loss in enumerate((1.0, 0.8, 0.9, 0.85, 0.7), 1):
        control = SimpleNamespace(should_training_stop=False)
        hook.on_evaluate(None, SimpleNamespace(global_step=step), control, metrics={"eval_loss": loss, "epoch": 1})
        stopped.append(control.should_training_stop)
    assert stopped == [False, False, False, True, False]


ARGUMENTS = (
    "train", "--shaper", "kimi-length", "--tasks", "chain-sum:easy", "--limit", "12", "--steps", "4", "--prompts", "2",
    "--group", "4", "--max-tokens", "64", "--eval-limit", "0", "--learning-rate", "0.0001",
)  # fmt: skip


@needs_trl
@pytest.mark.slow
def test_the_hook_is_what_stops_a_training(tmp_path: Path) -> None:
    """The same training with a halter and without: it ends after step 2, from its checkpoint, and after step 4."""
    ends = {}
    for name, extra in (("with", ("--stop-when", "step>=2", "--stop-every", "1", "--held-out", "6")), ("without", ())):
        out = tmp_path / name
        run = subprocess.run(
            [sys.executable, "-m", "satisfice.cli", *ARGUMENTS, *extra, "--out", str(out)],
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr[-3000:]
        assert (out / "model").is_dir()
        ends[name] = len((out / "steps.jsonl").read_text().splitlines())
        if name == "with":
            assert "Stopped after step 2 of 4: step>=2 (step is 2)" in run.stderr.replace("\n", " ")
            rows = [json.loads(line) for line in (out / LOOKS).read_text().splitlines()]
            assert [row["step"] for row in rows] == [0, 1, 2]
            assert all(len(row["verdicts"]) == 6 and row["cost"] > 0 for row in rows)
            told = json.loads((out / "train.json").read_text())
            assert told["halting"]["stopped"]
            assert told["halting"]["tokens"] == sum(row["cost"] for row in rows)
    assert ends == {"with": 2, "without": 4}
