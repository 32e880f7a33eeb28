"""A run in the forms of other tools: what they would read is what the run says."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.errors import BadInput, UnknownName
from satisfice.measure.export import INVALID, doc_id, export
from satisfice.measure.samples import question_digest
from satisfice.measure.store import read_results, read_samples


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two policies and two seeds on a few problems; one answer is missing, one verdict unknown, one policy failed."""
    return write_run(tmp_path_factory.mktemp("export") / "run")


def write_run(path: Path, order: int | None = None) -> Path:
    """A run as release 1 wrote it, its samples in the order in which they were finished."""
    path.mkdir()
    policies, tasks = ["full", "deer(threshold=0.9)"], ["sums:easy@1"]
    config = {
        "model": "pocket", "tasks": tasks, "problems": {tasks[0]: {"n": 3, "digest": "x"}}, "policies": policies,
        "limit": 3, "seeds": [0, 5], "split": "eval", "temperature": None, "max_tokens": 64, "margin": 0.02,
    }  # fmt: skip
    samples = [
        sample(policy, problem, seed, answer)
        for policy in policies
        for seed in (0, 5)
        for problem, answer in (("p0", "2"), ("p1", "3"), ("p2", None))
    ]
    samples[3] |= {"verdict": "unknown", "verdict_flexible": "unknown"}
    samples[-1] |= {"error": "ValueError: no", "truncated": True}
    rows = [{"policy": policy, "task": tasks[0], "accuracy": 0.99} for policy in policies]  # a hand wrote these
    environment = {"satisfice": "0.1.0", "date": "2026-11-21T12:40:04+00:00"}
    results = {"schema_version": 1, "config": config, "environment": environment, "rows": rows}
    (path / "results.json").write_text(json.dumps(results))
    if order is not None:
        random.Random(order).shuffle(samples)
    (path / "samples.jsonl").write_text("".join(json.dumps(one) + "\n" for one in samples))
    return path


def test_a_problem_has_the_same_number_in_whatever_order_samples_were_finished(tmp_path: Path) -> None:
    def numbers(order: int) -> dict[str, int]:
        written = export(write_run(tmp_path / f"run{order}", order), tmp_path / f"out{order}", "lm-eval")
        files = [path for path in written if path.suffix == ".jsonl"]
        rows = [json.loads(line) for path in files for line in path.read_text("utf-8").splitlines()]
        return {row["doc"]["id"]: row["doc_id"] for row in rows}

    first = numbers(0)
    assert all(numbers(order) == first for order in range(1, 4))
    assert all(0 <= number < 2**53 for number in first.values())
    one = {"problem": "p0", "question_digest": "a"}
    assert doc_id(one) != doc_id(one | {"question_digest": "b"}) != doc_id(one | {"problem": "p1"})


@settings(max_examples=200)
@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=1, max_size=8), st.randoms())
def test_a_number_belongs_to_an_id_and_its_question_alone(pairs: list[tuple[str, str]], draw: random.Random) -> None:
    """Whatever else a row says, and in any order; ids and questions that only run together the same differ."""
    rows = [{"problem": p, "question_digest": question_digest(q), "seed": i} for i, (p, q) in enumerate(pairs)]
    numbers = {(p, q): doc_id(row) for (p, q), row in zip(pairs, rows, strict=True)}
    assert len(set(numbers.values())) == len(set(pairs))
    draw.shuffle(rows)
    assert {doc_id(row | {"policy": "deer", "seed": 9}) for row in rows} == set(numbers.values())


def sample(policy: str, problem: str, seed: int, answer: str | None) -> dict[str, Any]:
    text = answer or ""
    spans = [{"kind": "sampled", "by": "0", "tokens": 4, "text": "1+1=2\n</think>"},
             {"kind": "sampled", "by": "0", "tokens": 2, "text": text + "<|end|>"}]  # fmt: skip
    verdict = "right" if answer == "2" else "wrong"
    return {
        "schema_version": 1, "policy": policy, "task": "sums:easy@1", "problem": problem, "seed": seed,
        "question": f"{problem}: 1+1?", "gold": "2", "answer": answer, "answer_flexible": answer, "text": text,
        "verdict": verdict, "verdict_flexible": verdict, "stop_reason": "model", "truncated": False, "error": "",
        "kept": 5, "probe": 2, "dropped": 0, "spent": 7, "injected": 1, "prefilled": 0, "steps": 5, "wall_s": None,
        "chain": "0", "thinking_tokens": 4, "first_right": None, "spans": spans, "log": [],
    }  # fmt: skip


def test_lm_eval_reads_two_rows_a_sample_and_a_model_for_each_policy(run: Path, tmp_path: Path) -> None:
    written = export(run, tmp_path / "out", "lm-eval")
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in written) == [
        "pocket__deer_threshold=0.9/results_2026-11-21T12-40-04+00-00.json",
        "pocket__deer_threshold=0.9/samples_sums_easy_1_2026-11-21T12-40-04+00-00.jsonl",
        "pocket__full/results_2026-11-21T12-40-04+00-00.json",
        "pocket__full/samples_sums_easy_1_2026-11-21T12-40-04+00-00.jsonl",
    ]
    files = [path for path in written if path.suffix == ".jsonl"]
    rows = [json.loads(line) for path in files for line in path.read_text("utf-8").splitlines()]
    assert len(rows) == 2 * len(list(read_samples(run)))
    first = rows[0]
    assert (first["filter"], rows[1]["filter"]) == ("strict-match", "flexible-extract")
    assert first["resps"] == [["1+1=2\n</think>2<|end|>"]]
    assert (first["filtered_resps"], first["exact_match"], first["target"]) == (["2"], 1.0, "2")
    assert first["arguments"]["gen_args_0"]["arg_0"] == "p0: 1+1?"
    assert first["satisfice"]["probe"] == 2
    missing = [row for row in rows if row["doc"]["id"] == "p2"]
    assert {(row["filtered_resps"][0], row["exact_match"]) for row in missing} == {(INVALID, 0.0), (INVALID, None)}
    assert sum(row["exact_match"] is None for row in rows) == 4, "an unknown verdict and a failure are no score"
    numbers = {(row["doc"]["id"], row["doc_id"]) for row in rows}
    assert len(numbers) == len({number for _, number in numbers}) == 3
    results = json.loads(
        next(p for p in written if p.parent.name == "pocket__full" and p.suffix == ".json").read_text()
    )
    # Of three questions one is right wherever it was judged, and a question has one weight.
    assert results["results"]["sums:easy@1"]["exact_match,strict-match"] == pytest.approx(1 / 3)
    assert results["versions"] == {"sums:easy@1": "1"}
    assert results["config"]["model_args"] == {"model": "pocket", "policy": "full"}


def test_inspect_reads_a_log_for_each_task_and_policy(run: Path, tmp_path: Path) -> None:
    written = export(run, tmp_path / "out", "inspect")
    assert [path.name for path in written] == ["sums_easy_1_full.json", "sums_easy_1_deer_threshold=0.9.json"]
    full, deer = (json.loads(path.read_text("utf-8")) for path in written)
    assert (full["version"], full["status"], full["eval"]["solver"]) == (2, "success", "full")
    assert [(one["id"], one["epoch"]) for one in full["samples"]] == [
        (problem, epoch) for epoch in (1, 2) for problem in ("p0", "p1", "p2")
    ]
    first = full["samples"][0]
    assert first["messages"][1]["content"] == [
        {"type": "reasoning", "reasoning": "1+1=2\n</think>"}, {"type": "text", "text": "2"}
    ]  # fmt: skip
    assert first["scores"]["strict-match"] == {"value": "C", "answer": "2"}
    assert first["model_usage"]["satisfice/pocket"]["output_tokens"] == 7
    assert full["samples"][3]["scores"] == {}, "an unknown verdict is no score"
    last = deer["samples"][-1]
    assert (last["error"]["message"], last["output"]["choices"][0]["stop_reason"]) == ("ValueError: no", "max_tokens")
    assert deer["status"] == "error"
    assert full["results"]["scores"][0]["metrics"]["accuracy"]["value"] == pytest.approx(1 / 3)
    assert full["stats"]["model_usage"]["satisfice/pocket"]["output_tokens"] == 42


def test_what_cannot_be_exported_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'lm-eval'"):
        export(run, tmp_path / "out", "lm_eval")
    with pytest.raises(BadInput, match="holds no run"):
        export(tmp_path, tmp_path / "out", "inspect")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(BadInput, match="is there already"):
        export(run, tmp_path / "mine", "inspect")
    assert read_results(run)["rows"]
    assert not (tmp_path / "out").exists()
