"""Runs that stop each comparison once its verdict is certain."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from satisfice.core.errors import BadInput
from satisfice.core.jobs import Listener
from satisfice.engines.scripted import ScriptedEngine
from satisfice.measure.merge import read_runs
from satisfice.measure.plan import BenchPlan, make_plan
from satisfice.measure.run import BLOCK, run_bench
from satisfice.measure.store import read_samples

CHAIN = "1+1=2 so 2\nWait, 2-1=1 yes\nWait, once more so 2</think>2"
N = 400


def script(so_far: str, request: Any) -> str:
    """Always the same chain; a chain that is cut before its first answer answers 3."""
    if CHAIN.startswith(so_far):
        return CHAIN[len(so_far) :] or "<|end|>"
    if so_far.endswith("<|end|>") or so_far[-1:] in "23":
        return "<|end|>"
    return "2" if "so 2" in so_far else "3"


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tasks") / "sums.jsonl"
    path.write_text("".join(f'{{"question": "1+1 ({i})", "answer": "2"}}\n' for i in range(N)), "utf-8")
    return path


def plan_of(questions: Path, policies: str = "full,first-cue,cap:2", **rest: Any) -> BenchPlan:
    return make_plan(model="scripted", tasks=[str(questions)], policies=policies, limit=None, **rest)


def run(plan: BenchPlan, out: Path, listener: Listener | None = None) -> dict[str, Any]:
    return asyncio.run(run_bench(plan, ScriptedEngine(script), out, listener=listener))


@pytest.fixture(scope="module")
def done(questions: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("runs") / "decided"
    return out, run(plan_of(questions, until_decided=True), out)


def test_each_comparison_stops_by_itself_and_the_baseline_with_the_last(done: tuple[Path, dict[str, Any]]) -> None:
    _, results = done
    rows = {row["policy"]: row for row in results["rows"]}
    assert rows["first-cue"]["verdict"] == "saves"
    assert (
        rows["first-cue"]["problems"] == rows["full"]["problems"] == 250
    )  # nothing differs: `problems_needed` + a block
    assert rows["fixed-budget(tokens=2)"]["verdict"] == "worse"
    assert rows["fixed-budget(tokens=2)"]["problems"] == BLOCK  # all wrong
    assert results["config"]["until_decided"] is True
    assert rows["first-cue"]["delta_accuracy_low"] > -0.02


def test_the_option_is_what_makes_it_stop(questions: Path, tmp_path: Path) -> None:
    results = run(plan_of(questions, "full,first-cue", split="eval"), tmp_path / "all")
    assert [row["problems"] for row in results["rows"]] == [N, N]
    assert "until_decided" not in results["config"]  # a run from before the option goes on


def test_a_run_that_is_over_is_not_gone_on_with_and_one_that_was_killed_ends_alike(
    questions: Path, tmp_path: Path, done: tuple[Path, dict[str, Any]]
) -> None:
    out, results = done
    seen: list[Any] = []
    again = run(plan_of(questions, until_decided=True), out, Listener(sample=seen.append))
    assert not seen
    assert again["rows"] == results["rows"]
    half = tmp_path / "half"
    half.mkdir()
    lines = (out / "samples.jsonl").read_text("utf-8").splitlines(keepends=True)
    (half / "samples.jsonl").write_text("".join(lines[: len(lines) // 2]), "utf-8")
    (half / "results.json").write_text((out / "results.json").read_text("utf-8"), "utf-8")
    ended = run(plan_of(questions, until_decided=True), half)
    assert {(s["policy"], s["problem"]) for s in read_samples(half)} == {
        (s["policy"], s["problem"]) for s in read_samples(out)
    }
    assert [row["verdict"] for row in ended["rows"]] == [row["verdict"] for row in results["rows"]]


def test_a_report_made_later_has_the_same_intervals(done: tuple[Path, dict[str, Any]]) -> None:
    out, results = done
    assert json.loads(json.dumps(read_runs([out])["rows"])) == json.loads(json.dumps(results["rows"]))


def test_what_cannot_be_decided_together_is_refused(questions: Path) -> None:
    with pytest.raises(BadInput, match="until-decided must be off: its verdicts"):
        plan_of(questions, until_decided=True, shard="1/2")
    with pytest.raises(BadInput, match="until-decided must be off, or full among the policies"):
        plan_of(questions, "first-cue", until_decided=True)
