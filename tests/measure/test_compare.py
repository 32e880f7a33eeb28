"""Runs whose files were edited, and runs that are set side by side: the right numbers, or one sentence."""

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.measure.compare import compare_runs
from satisfice.measure.merge import read_runs
from satisfice.measure.store import read_samples

TASK = "t.jsonl"


def sample(
    problem="p0", question="1+1?", *, policy="full", seed=0, verdict="right", spent=100, **rest
) -> dict[str, Any]:
    return {
        "schema_version": 1, "policy": policy, "task": TASK, "problem": problem, "seed": seed, "question": question,
        "gold": "2", "answer": "2", "answer_flexible": "2", "text": "2", "verdict": verdict,
        "verdict_flexible": verdict, "stop_reason": "model", "truncated": False, "error": "", "kept": spent, "probe": 0,
        "dropped": 0, "spent": spent, "injected": 0, "prefilled": 0, "steps": spent, "wall_s": 0.5, "chain": "0",
        "thinking_tokens": spent, "first_right": None, "spans": [], "log": [],
    } | rest  # fmt: skip


def write(path, samples, **config):
    path.mkdir()
    seeds = sorted({row["seed"] for row in samples})
    whole = {
        "model": "m", "tasks": [TASK], "problems": {TASK: {"n": len(samples), "digest": "x"}}, "policies": ["full"],
        "limit": None, "seeds": seeds, "split": "eval", "temperature": None, "max_tokens": None, "margin": 0.02,
    } | config  # fmt: skip
    results = {"schema_version": 1, "config": whole, "environment": {}, "rows": [{"policy": "full", "accuracy": 7}]}
    (path / "results.json").write_text(json.dumps(results))
    (path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    return path


def run_of(path, n=100, *, spent=100, name="p{}", question="{}+1?", seed=0, order=None):
    samples = [sample(name.format(i), question.format(i), spent=spent + i, seed=seed) for i in range(n)]
    if order is not None:
        random.Random(order).shuffle(samples)
    return write(path, samples)


def test_runs_are_paired_by_question_whatever_the_ids(tmp_path):
    first = run_of(tmp_path / "a", spent=200)
    second = run_of(tmp_path / "b", spent=100, name="other-{}", order=4)
    compared = compare_runs(first, second)
    (row,) = compared["rows"]
    expected = 1 - sum(range(100, 200)) / sum(range(200, 300))
    assert (row["n"], row["paired"], row["saving"]) == (100, 100, pytest.approx(expected))
    assert compared["notes"] == []


def test_different_questions_under_the_same_ids_are_not_paired(tmp_path):
    first, second = run_of(tmp_path / "a"), run_of(tmp_path / "b", question="{}+2?")
    with pytest.raises(BadInput, match="100 problems have the same id and another question"):
        compare_runs(first, second)
    half = [sample(f"p{i}", f"{i}+{1 + i % 2}?") for i in range(100)]
    compared = compare_runs(first, write(tmp_path / "c", half))
    assert compared["rows"][0]["n"] == 50
    assert any("50 problems have the same id and another question" in note for note in compared["notes"])
    assert any("50 questions are in the first run only, 50 in the second only" in note for note in compared["notes"])


def test_differing_seeds_and_settings_are_named(tmp_path):
    first = run_of(tmp_path / "a")
    with pytest.raises(BadInput, match="The seeds differ: 0 in the first run, 1 in the second; compared: none"):
        compare_runs(first, run_of(tmp_path / "b", seed=1))
    both = [sample(f"p{i}", f"{i}+1?", seed=seed) for i in range(100) for seed in (0, 1)]
    compared = compare_runs(first, write(tmp_path / "c", both, temperature=1.5))
    assert compared["notes"] == [
        "The seeds differ: 0 in the first run, 0, 1 in the second; compared: 0.",
        "The settings differ: temperature: None in the first run, 1.5 in the second.",
    ]
    assert compared["rows"][0]["pairs"] == 100


def test_questions_that_repeat_are_paired_one_to_one_and_count_once(tmp_path):
    def run(path, names):
        return write(path, [sample(name.format(i), f"{i // 4}+1?", spent=100 + i) for i in range(40) for name in names])

    (row,) = compare_runs(run(tmp_path / "a", ["p{:02}"]), run(tmp_path / "b", ["q{:02}"]))["rows"]
    assert (row["n"], row["pairs"], row["paired"], row["saving"]) == (10, 40, 10, 0.0)


def test_rows_are_made_again_from_the_samples(tmp_path):
    path = run_of(tmp_path / "a")
    (row,) = read_runs([path])["rows"]
    assert (row["accuracy"], row["n"], row["spent"]) == (1.0, 100, pytest.approx(149.5))


def test_version_one_is_read_with_its_failures_as_failures(tmp_path):
    broken = sample("p1", "2+1?", verdict="wrong", answer=None, error="ValueError: no: never")
    path = write(tmp_path / "a", [sample(), broken])
    first, second = read_samples(path)
    assert (first["verdict"], first["error_type"], first["schema_version"]) == ("right", "", 2)
    assert (second["verdict"], second["verdict_flexible"], second["error_type"]) == ("error", "error", "ValueError")
    assert first["question_digest"] != second["question_digest"]


def test_missing_files_and_repeated_rows_are_refused_in_a_sentence(tmp_path):
    path = run_of(tmp_path / "a", 3)
    lines = (path / "samples.jsonl").read_text().splitlines(keepends=True)
    (path / "samples.jsonl").write_text("".join([*lines, lines[1]]))
    with pytest.raises(BadInput, match="line 4 is a sample of the same model, policy, task, problem and seed"):
        compare_runs(path, path)
    (path / "samples.jsonl").unlink()
    with pytest.raises(BadInput, match="holds no samples"):
        compare_runs(path, path)
    (path / "results.json").unlink()
    with pytest.raises(BadInput, match="holds no run"):
        compare_runs(path, path)


def outcome(act) -> tuple[Any, str]:
    """What an action gives, or the sentence in which it refuses; any other error is a fault."""
    try:
        return act(), ""
    except BadInput as error:
        return None, str(error)


ODD = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats()
    | st.text(max_size=4)
    | st.just([])
    | st.just({})
)
FIELDS = sorted(sample())


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_edited_sample_is_read_as_it_stands_or_refused_in_a_sentence(data, tmp_path_factory):
    rows: list[Any] = [sample(f"p{i}", f"{i}+1?", spent=10 + i) for i in range(3)]
    at = data.draw(st.integers(0, 2))
    match data.draw(st.sampled_from(["drop", "change", "line", "cut", "version"])):
        case "drop":
            del rows[at][data.draw(st.sampled_from(FIELDS))]
        case "change":
            rows[at][data.draw(st.sampled_from(FIELDS))] = data.draw(ODD)
        case "line":
            rows[at] = data.draw(ODD)
        case "version":
            rows[at]["schema_version"] = 2
        case "cut":
            rows[at] = json.dumps(rows[at])[: data.draw(st.integers(0, 300))]
    folder = tmp_path_factory.mktemp("edited")
    good = write(folder / "good", [sample(f"p{i}", f"{i}+1?", spent=10 + i) for i in range(3)])
    path = write(folder / "run", [sample()])
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (path / "samples.jsonl").write_text("\n".join(lines) + "\n")
    for act in (lambda: compare_runs(good, path), lambda: read_runs([path])):
        _, refused = outcome(act)
        assert refused == "" or (str(path) in refused and "\n" not in refused.strip())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_edited_results_are_read_or_refused_in_a_sentence(data, tmp_path_factory):
    path = run_of(tmp_path_factory.mktemp("edited") / "run", 3)
    results = json.loads((path / "results.json").read_text())
    where = data.draw(st.sampled_from(["config", "top", "text"]))
    target = results["config"] if where == "config" else results
    if data.draw(st.booleans()):
        target.pop(data.draw(st.sampled_from(sorted(target))))
    else:
        target[data.draw(st.sampled_from(sorted(target)))] = data.draw(ODD)
    text = json.dumps(results)
    (path / "results.json").write_text(text[: data.draw(st.integers(0, 300))] if where == "text" else text)
    for act in (lambda: compare_runs(path, path), lambda: read_runs([path])):
        found, refused = outcome(act)
        assert str(path) in refused if found is None else found["rows"][0]["n"] == 3
