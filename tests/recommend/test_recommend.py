"""From problems to a file that runs: on a script, on the bundled model, after a kill, and when it must refuse."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib

import pytest
from tests.recordings.test_record import TALKS, Compare, stated

from satisfice.catalog import build
from satisfice.core.errors import BadInput
from satisfice.core.problem import Problem, Verdict
from satisfice.engines.scripted import ScriptedEngine
from satisfice.gateway.config import settings_from
from satisfice.recommend import search
from satisfice.recommend.recommend import checkpoints_for, expected_tokens, recommend
from satisfice.recommend.search import Goal
from satisfice.recordings.recording import Recording
from satisfice.tasks import Task

SETTLED = "1+1=2 so 2\nWait, 2-1=1 yes\nWait, once more so 2</think>2"
REPAIRED = "1+1=3 so 3\nWait, 3-1=2 no, so 2\nWait, yes so 2</think>2"


def tell(so_far, request):
    """One chain in ten is repaired at its first look; until then its answer is said with less conviction."""
    story = REPAIRED if request.key % 10 == 0 else SETTLED
    if story.startswith(so_far):
        return story[len(so_far) :] or "<|end|>", -0.01
    thought, _, said = so_far.partition("</think>")
    return "<|end|>" if said.strip() else stated(thought), -0.3 if stated(thought) == "3" else -0.02


def scripted():
    engine = ScriptedEngine(tell, profile=TALKS)
    for text in (SETTLED, REPAIRED, "<think>?0123456789 ()+ab"):  # so that two engines number tokens alike
        engine.encode(text)
    return engine


def sums(name, n):
    problems = tuple(Problem(id=f"{name}{i}", task=name, question=f"1+1 ({name} {i})", answer="2") for i in range(n))
    return Task(name=name, split="calibration", problems=problems, _score=lambda p, a: Verdict.UNKNOWN)


def run(out, *, n=60, most=0.1, told=lambda text: None, **goal):
    return recommend(
        "scripted", [sums("a@1", n), sums("b@1", n)], scripted, out, Goal(most=most, **goal), judge=Compare, told=told,
        price=2.5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("recommend")
    return run(out), out


def test_what_is_written_is_what_was_found(found):
    result, out = found
    assert result.choice.setting is not None
    told = json.loads((out / "recommendation.json").read_text("utf-8"))
    serve = tomllib.loads((out / "serve.toml").read_text("utf-8"))
    assert serve["policy"] == told["choice"]["setting"] == result.choice.setting
    assert build(serve["policy"]).card.id in result.choice.ladder
    assert serve["promise"]["most"] == 0.1
    assert serve["promise"]["problems"] == list(result.problems)
    assert serve["promise"]["saving_low"] <= serve["promise"]["saving"] <= serve["promise"]["saving_high"]
    assert all(one.bound <= 0.1 for one in result.choice.tested if one.passed)
    assert (out / "replayed" / "lost-0.1-0.05" / "results.json").exists()


def test_what_it_will_take_is_told_and_what_stands_beside_the_promise_is_written(tmp_path):
    said = []
    result = run(tmp_path, n=40, most=0.3, told=said.append)
    assert re.fullmatch(
        r"Recording 80 chains once: about [\d,]+ tokens, \d+\.\d\d at 2\.5 per million, "
        r"at most \d+ min at the pilot's pace\.",
        said[0],
    )
    assert result.floor.problems == (40, 40)
    assert result.floor.changed == (0, 0)  # the script says the same to whoever asks twice
    assert len(result.changed) == 2
    assert 0 < result.changed_most <= 1
    assert result.runner_up in result.why_not_second
    assert sum(result.traffic["prompt"].counts) == sum(result.problems)
    settings = settings_from(tomllib.loads((tmp_path / "serve.toml").read_text("utf-8")))
    assert settings.promise.traffic["prompt"].counts == result.traffic["prompt"].counts
    assert settings.promise.changed_most == pytest.approx(result.changed_most, abs=1e-4)


def test_the_same_call_again_records_nothing_and_finds_the_same(found):
    result, out = found
    before = (out / "recommendation.json").read_bytes(), (out / "recording" / "chains.jsonl").read_bytes()
    assert run(out) == result
    assert before == ((out / "recommendation.json").read_bytes(), (out / "recording" / "chains.jsonl").read_bytes())


def test_saving_and_losses_are_those_of_the_replay(found):
    result, out = found
    rows = [
        json.loads(line)
        for line in (out / "replayed" / "lost-0.1-0.05" / "samples.jsonl").read_text("utf-8").splitlines()
    ]
    recording = Recording(out / "recording")
    spent = {
        policy: sum(row["spent"] for row in rows if row["policy"] == policy)
        for policy in ("full", result.choice.setting)
    }
    assert len(recording) == 120
    saving = 1 - spent[result.choice.setting] / spent["full"]
    assert saving == pytest.approx(result.choice.saving, abs=0.1)  # over all problems here, over two thirds there


def test_a_promise_that_cannot_be_kept_is_refused_with_its_reason_and_no_file_is_left_to_serve(tmp_path, monkeypatch):
    run(tmp_path, n=50)
    assert (tmp_path / "serve.toml").exists()
    monkeypatch.setattr(search, "LEAST_SAVING", 0.99)
    result = run(tmp_path, n=50, doubt=0.06)
    assert result.choice.setting is None
    assert result.reason
    assert not (tmp_path / "serve.toml").exists()
    assert json.loads((tmp_path / "recommendation.json").read_text("utf-8"))["reason"] == result.reason


def test_too_few_problems_are_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(BadInput, match=r"a@1: \d+ problems are left for the promise, and it takes 149"):
        run(tmp_path / "out", n=60, most=0.02)
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_never_right_is_refused(tmp_path):
    class Wrong(Compare):
        async def verdict(self, problem, answer):
            return Verdict.WRONG

    with pytest.raises(BadInput, match=r"a@1: the full chains are right on 0.0% of the problems"):
        recommend("scripted", [sums("a@1", 60)], scripted, tmp_path, Goal(most=0.1), judge=Wrong)


@pytest.mark.parametrize("loss", ["net", "changed", "wrong"])
def test_other_losses(tmp_path, loss):
    result = run(tmp_path, n=40, most=0.3, loss=loss)
    assert json.loads((tmp_path / "recommendation.json").read_text("utf-8"))["goal"]["loss"] == loss
    if loss == "changed":
        assert all(gained == 0 for one in result.choice.tested for gained in one.gained)


def test_an_accuracy_that_the_model_itself_does_not_have_is_refused(tmp_path):
    class Half(Compare):
        async def verdict(self, problem, answer):
            return Verdict.RIGHT if answer == "2" and problem.id[-1] in "02468" else Verdict.WRONG

    with pytest.raises(BadInput, match=r"themselves are right on \d+.\d% .* 90.0% cannot be promised"):
        recommend("scripted", [sums("a@1", 60)], scripted, tmp_path, Goal(most=0.1, loss="wrong"), judge=Half)


def test_checkpoints_follow_the_model():
    assert checkpoints_for([], []) == ((), 16)
    assert checkpoints_for([8], [1]) == (("cue",), 16)
    assert checkpoints_for([60_000], [0]) == ((), 2048)
    assert expected_tokens({"mean_thinking": 300.0, "cues_per_chain": 5.0, "every": 32}, 1000, 16) == 808_000


COMMAND = [
    sys.executable, "-m", "satisfice.cli", "recommend", "--tasks", "chain-sum:easy", "--limit", "100",
    "--max-loss", "0.06",
]  # fmt: skip


@pytest.mark.slow
def test_on_the_bundled_model_a_killed_run_goes_on_and_ends_in_the_same(tmp_path):
    whole = subprocess.run([*COMMAND, "--out", str(tmp_path / "whole")], capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    assert "Switch on" in whole.stdout
    killed = subprocess.Popen([*COMMAND, "--out", str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
    chains = tmp_path / "killed" / "recording" / "chains.jsonl"
    give_up = time.monotonic() + 300
    while not (chains.exists() and chains.stat().st_size) and killed.poll() is None and time.monotonic() < give_up:
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    again = subprocess.run([*COMMAND, "--out", str(tmp_path / "killed")], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    first, second = (
        json.loads((tmp_path / name / "recommendation.json").read_text("utf-8")) for name in ("whole", "killed")
    )
    assert first == second
