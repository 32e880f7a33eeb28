"""Several models and samplers in one run, runs in parts, and folders of release 1."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from satisfice.core.errors import BadInput
from satisfice.engines.scripted import ScriptedEngine
from satisfice.measure.compare import compare_runs
from satisfice.measure.export import export
from satisfice.measure.merge import read_runs, write_merged
from satisfice.measure.plan import BenchPlan, make_plan, part_of
from satisfice.measure.run import run_bench
from satisfice.measure.statistics import TIMINGS
from satisfice.measure.store import read_samples
from satisfice.measure.subject import Subject, names_of, subjects_in

LONG = "1+1=3 so 3\nWait, 3-1=2 no, so 2\nWait, yes so 2</think>2"
SHORT = "1+1=2 so 2</think>2"


def tells(chain: str) -> Any:
    def script(so_far: str, request: Any) -> str:
        if so_far.endswith("<|end|>"):
            return "<|end|>"
        if chain.startswith(so_far):
            return chain[len(so_far) :] or "<|end|>"
        return "<|end|>" if so_far.endswith("2") else "2"

    return script


def engines(plan: BenchPlan) -> dict[str, ScriptedEngine]:
    return {model: ScriptedEngine(tells(SHORT if "short" in model else LONG)) for model in plan.models}


@pytest.fixture
def sums(tmp_path: Path) -> str:
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(f'{{"question": "1+1 ({i})", "answer": "2"}}\n' for i in range(11)), "utf-8")
    return str(path)


def run(plan: BenchPlan, out: Path) -> dict[str, Any]:
    return asyncio.run(run_bench(plan, engines(plan), out))


def lasting(results: dict[str, Any]) -> Any:
    rows = [{name: value for name, value in row.items() if name not in TIMINGS} for row in results["rows"]]
    return {**results, "environment": None, "rows": rows}


def test_two_models_and_two_policies_make_a_cross_table_against_full_on_the_first(sums: str, tmp_path: Path) -> None:
    plan = make_plan(model="long, runs/short", tasks=[sums], policies="full,first-cue", limit=None)
    assert plan.size == 44
    results = run(plan, tmp_path / "run")
    assert results["config"]["baseline"] == {"model": "long", "policy": "full", "sampler": ""}
    rows = {(row["model"], row["policy"]): row for row in results["rows"]}
    assert list(rows) == [("long", "full"), ("long", "first-cue"), ("runs/short", "full"), ("runs/short", "first-cue")]
    assert [row["verdict"] for row in rows.values()].count("baseline") == 1
    short, full = rows["runs/short", "full"], rows["long", "full"]
    assert short["pairs"] == 11
    assert short["saving"] == pytest.approx(1 - short["spent"] / full["spent"])
    assert {row["model"] for row in read_samples(tmp_path / "run")} == {"long", "runs/short"}
    assert lasting(run(plan, tmp_path / "run")) == lasting(results)  # a finished run is not run again
    assert len({path.parent.name for path in export(tmp_path / "run", tmp_path / "lm", "lm-eval")}) == 4
    assert len(export(tmp_path / "run", tmp_path / "inspect", "inspect")) == 4
    names = names_of(subjects_in(results["config"]))
    assert list(names.values()) == ["long: full", "long: first-cue", "short: full", "short: first-cue"]


def test_samplers_are_subjects_too(sums: str, tmp_path: Path) -> None:
    plan = make_plan(model="long", tasks=[sums], policies="full", limit=None, sampler="own; top-k:5, min-p:0.1")
    results = run(plan, tmp_path / "run")
    assert [row["sampler"] for row in results["rows"]] == ["", "temperature, top-k(k=5), min-p"]
    assert [row["verdict"] for row in results["rows"]] == ["baseline", "no claim"]
    with pytest.raises(BadInput, match="own is named more than once"):
        make_plan(model="long", tasks=[sums], policies="full", limit=None, sampler="own;own")


@pytest.mark.parametrize("parts", [2, 4, 16])
def test_the_parts_of_a_run_give_the_results_of_the_whole(sums: str, tmp_path: Path, parts: int) -> None:
    def plan(shard: str | None) -> BenchPlan:
        return make_plan(
            model="long,short", tasks=[sums], policies="full,first-cue", limit=None, seeds=(0, 1), shard=shard
        )

    whole = run(plan(None), tmp_path / "whole")
    folders = [tmp_path / f"part{i}" for i in range(1, parts + 1)]
    sizes = [len(run(plan(f"{i}/{parts}"), folder)["rows"]) for i, folder in enumerate(folders, 1)]
    assert max(sizes) == 4
    assert lasting(read_runs(folders)) == lasting(whole)
    merged = write_merged(folders, tmp_path / "merged")
    assert lasting(merged) == lasting(json.loads((tmp_path / "merged" / "results.json").read_text())) == lasting(whole)
    assert lasting(read_runs([tmp_path / "merged"])) == lasting(whole)
    assert {row["verdict"] for row in compare_runs(tmp_path / "whole", tmp_path / "merged")["rows"]} == {"no claim"}
    if parts > 2:
        assert read_runs(folders[:2])["config"]["shard"] == f"1, 2/{parts}"
    with pytest.raises(BadInput, match="Give each part of a run once"):
        read_runs([folders[0], tmp_path / "whole"])


def test_runs_of_two_models_make_one_table(sums: str, tmp_path: Path) -> None:
    both = run(make_plan(model="long,short", tasks=[sums], policies="full", limit=None), tmp_path / "both")
    for model in ("long", "short"):
        run(make_plan(model=model, tasks=[sums], policies="full", limit=None), tmp_path / model)
    assert lasting(read_runs([tmp_path / "long", tmp_path / "short"])) == lasting(both)
    run(make_plan(model="short", tasks=[sums], policies="full", limit=4), tmp_path / "few")
    with pytest.raises(BadInput, match="limit: None there, 4 asked"):
        read_runs([tmp_path / "long", tmp_path / "few"])


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1/0", "a", "1/4/2", ""])
def test_a_part_that_is_none_is_refused(sums: str, shard: str) -> None:
    with pytest.raises(BadInput, match="shard must be"):
        make_plan(model="m", tasks=[sums], policies="full", limit=None, shard=shard)
    assert part_of("4/4") == (3, 4)


def test_a_folder_of_release_1_is_read_and_goes_on(sums: str, tmp_path: Path) -> None:
    plan = make_plan(model="long", tasks=[sums], policies="full,first-cue", limit=None)
    whole = run(plan, tmp_path / "now")
    old = tmp_path / "old"
    old.mkdir()
    rows = [json.loads(line) for line in (tmp_path / "now" / "samples.jsonl").read_text().splitlines()]
    for row in rows:
        for name in ("model", "sampler", "question_digest", "error_type"):
            del row[name]
        row["schema_version"] = 1
    config = {
        name: value
        for name, value in whole["config"].items()
        if name not in ("models", "samplers", "baseline", "shard")
    }
    config |= {"model": "long", "weights": None}
    (old / "results.json").write_text(
        json.dumps({"schema_version": 1, "config": config, "environment": {}, "rows": []})
    )
    (old / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:9]))
    assert {(row["model"], row["sampler"]) for row in read_samples(old)} == {("long", "")}
    assert lasting(run(plan, old)) == lasting(whole)
    assert len(list(read_samples(old))) == 22
    assert compare_runs(old, tmp_path / "now")["notes"] == []


def test_names_are_as_short_as_they_can_be() -> None:
    one = [Subject("a/b", "full"), Subject("c/b", "full"), Subject("c/b", "full", "top-k(k=5)")]
    assert list(names_of(one).values()) == [
        "a/b: full [own sampler]", "c/b: full [own sampler]", "c/b: full [top-k(k=5)]"
    ]  # fmt: skip
