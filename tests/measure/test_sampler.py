"""A run under a sampler: part of what the run is, checked before the start, and really applied."""

import asyncio
from pathlib import Path

import pytest

from satisfice import load_engine
from satisfice.core.card import Need
from satisfice.core.errors import BadInput, Unfit
from satisfice.engines.scripted import ScriptedEngine
from satisfice.measure.plan import BenchPlan, make_plan
from satisfice.measure.run import run_bench
from satisfice.measure.samples import upgraded_config
from satisfice.measure.store import read_samples
from satisfice.methods.sampling.basis_aware import BasisAware


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(f'{{"question": "1+1 ({i})", "answer": "2"}}\n' for i in range(3)), "utf-8")
    return path


def plan_of(tasks: object, sampler: str | None = None, **rest: object) -> BenchPlan:
    given = {"limit": None, "model": "pocket", **rest}
    return make_plan(tasks=[str(tasks)], policies="full", sampler=sampler, **given)  # type: ignore[arg-type]


NEW = ("models", "samplers", "baseline", "weights", "shard")
"""What a config of release 1 did not have, or had otherwise."""


def scripted(provides: frozenset[Need] = frozenset(Need)) -> ScriptedEngine:
    return ScriptedEngine(lambda so_far, request: "so 2</think>2<|end|>", provides=provides)


def test_the_sampler_and_the_place_of_the_temperature_are_part_of_the_run(questions: Path, tmp_path: Path) -> None:
    plan = plan_of(questions, "top-k:20,min-p")
    results = asyncio.run(run_bench(plan, scripted(), tmp_path / "run"))
    assert results["config"]["samplers"] == ["temperature, top-k(k=20), min-p"]
    with pytest.raises(BadInput, match=r"samplers: \['temperature, top-k\(k=20\), min-p'\] there, \[''\] asked"):
        asyncio.run(run_bench(plan_of(questions), scripted(), tmp_path / "run"))
    config = plan_of(questions).config({"pocket": scripted()})
    before = {"model": "pocket", **{name: value for name, value in config.items() if name not in NEW}}
    assert upgraded_config(before | {"weights": None}) == config, "runs from before there were samplers go on"


def test_an_engine_that_cannot_change_scores_is_refused_before_anything_is_written(
    questions: Path, tmp_path: Path
) -> None:
    engine = scripted(frozenset(Need) - {Need.LOGITS})
    with pytest.raises(Unfit, match="min-p needs"):
        asyncio.run(run_bench(plan_of(questions, "min-p"), engine, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_filters_before_the_temperature_are_told_the_one_that_the_run_has(questions: Path) -> None:
    engine = scripted()
    for given, hot in ((0.5, 0.5), (None, engine.profile.temperature)):
        (ready,) = plan_of(questions, "top-p:0.9, temperature", temperature=given).ready(engine).samplers.values()
        assert ready is not None
        assert (ready.temperature, len(ready.before)) == (hot, 1)


@pytest.mark.slow
def test_on_the_pocket_model_top_k_1_is_greedy_and_basis_aware_gets_its_matrix(tmp_path: Path) -> None:
    engine = load_engine("pocket")
    task = "chain-sum:easy"
    told = {}
    for name, plan in (
        ("one", plan_of(task, "top-k:1", limit=4, temperature=1.5)),
        ("greedy", plan_of(task, limit=4, temperature=0.0)),
        ("free", plan_of(task, limit=4, temperature=1.5)),
    ):
        asyncio.run(run_bench(plan, load_engine("pocket"), tmp_path / name))
        told[name] = {row["problem"]: row["spans"] for row in read_samples(tmp_path / name)}
    assert told["one"] == told["greedy"] != told["free"]
    (ready,) = plan_of(task, "basis-aware, temperature", limit=1).ready(engine).samplers.values()
    assert ready is not None
    (bound,) = ready.before
    assert bound.basis.shape == (engine.unembedding().shape[0], BasisAware().columns)  # type: ignore[attr-defined]
