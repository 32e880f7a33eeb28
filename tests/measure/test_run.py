import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import pytest

from satisfice.core.card import Card, Need
from satisfice.core.errors import BadInput, CannotWrite, EngineError, Unfit
from satisfice.core.jobs import Listener
from satisfice.engines.scripted import ScriptedEngine
from satisfice.measure import run as run_module
from satisfice.measure.plan import BenchPlan, make_plan
from satisfice.measure.run import run_bench
from satisfice.measure.statistics import TIMINGS
from satisfice.measure.store import read_samples

CHAINS = (
    "1+1=2 so 2\nWait, 2-1=1 yes\nWait, once more so 2</think>2",
    "1+1=3 so 3\nWait, 3-1=2 no, so 2\nWait, yes so 2</think>2",
    "1+1=3 so 3\nWait, it is so</think>3",
)


class Chooser:
    """Which chain a problem gets depends on its key, that is on the problem and the seed."""

    def __init__(self, pause_s=0.0):
        self.pause_s = pause_s

    def __call__(self, so_far, request):
        time.sleep(self.pause_s)
        if so_far.endswith("<|end|>"):
            return "<|end|>"
        for chain in (*CHAINS[request.key % 3 :], *CHAINS):
            if chain.startswith(so_far):
                return chain[len(so_far) :] or "<|end|>"
        return "<|end|>" if so_far.endswith("2") else "2"


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(f'{{"question": "1+1 ({i})", "answer": "2"}}\n' for i in range(12)), "utf-8")
    return path


def plan_of(questions, policies="full,cap:8,first-cue", **rest) -> BenchPlan:
    return make_plan(model="scripted", tasks=[str(questions)], policies=policies, limit=None, **rest)


def run(plan, out, *, script=None, listener=None):
    return asyncio.run(run_bench(plan, ScriptedEngine(script or Chooser()), out, listener=listener))


def lasting(results):
    """The results without what may differ from run to run."""
    rows = [{k: v for k, v in row.items() if k not in TIMINGS} for row in results["rows"]]
    return {**results, "environment": None, "rows": rows}


def test_a_run_leaves_samples_and_results_that_agree(questions, tmp_path):
    out = tmp_path / "run"
    seen = []
    results = run(plan_of(questions, seeds=(0, 1)), out, listener=Listener(sample=seen.append))
    samples = list(read_samples(out))
    assert len(samples) == len(seen) == 3 * 12 * 2
    assert len({(s["policy"], s["problem"], s["seed"]) for s in samples}) == len(samples)
    assert json.loads((out / "results.json").read_text()) == results
    full = [s for s in samples if s["policy"] == "full"]
    assert {s["verdict"] for s in full} == {"right", "wrong"}
    (row,) = [r for r in results["rows"] if r["policy"] == "full"]
    assert row["accuracy"] == pytest.approx(sum(s["verdict"] == "right" for s in full) / 24)
    assert row["spent"] == pytest.approx(sum(s["spent"] for s in full) / 24)
    assert (row["n"], row["samples"], row["verdict"]) == (12, 24, "baseline")
    for s in samples:
        assert s["spent"] == s["kept"] + s["probe"] + s["dropped"]
        assert sum(span["tokens"] for span in s["spans"] if span["kind"] == "sampled") == s["kept"]


def test_first_right_is_the_end_of_the_first_stated_right_answer(questions, tmp_path):
    run(plan_of(questions, "full"), tmp_path / "run")
    engine = ScriptedEngine("")
    for s in read_samples(tmp_path / "run"):
        text = "".join(span["text"] for span in s["spans"])
        thinking = text.split("</think>")[0]
        at = thinking.find("so 2")
        expected = None if at < 0 else len(engine.encode(thinking[: at + 4]))
        assert s["first_right"] == expected
        assert s["thinking_tokens"] == len(engine.encode(thinking))


def test_a_sample_is_on_disk_before_it_is_told(questions, tmp_path):
    out = tmp_path / "run"

    def look(row):
        keys = {(s["policy"], s["problem"], s["seed"]) for s in read_samples(out)}
        assert (row["policy"], row["problem"], row["seed"]) in keys

    run(plan_of(questions), out, listener=Listener(sample=look))


def test_a_finished_run_is_not_run_again(questions, tmp_path):
    out = tmp_path / "run"
    first = run(plan_of(questions), out)
    before = (out / "samples.jsonl").read_bytes()
    again = ScriptedEngine(Chooser())
    second = asyncio.run(run_bench(plan_of(questions), again, out))
    assert again.tokens == 0
    assert (out / "samples.jsonl").read_bytes() == before
    assert lasting(first) == lasting(second)


def test_a_torn_last_line_is_dropped_and_done_again(questions, tmp_path):
    out = tmp_path / "run"
    whole = run(plan_of(questions), out)
    data = (out / "samples.jsonl").read_bytes()
    (out / "samples.jsonl").write_bytes(data[: len(data) - 700])
    fresh = []
    again = run(plan_of(questions), out, listener=Listener(sample=fresh.append))
    assert fresh
    assert len(list(read_samples(out))) == 36
    assert lasting(again) == lasting(whole)


def test_another_config_is_refused_and_nothing_is_written(questions, tmp_path):
    out = tmp_path / "run"
    run(plan_of(questions), out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(BadInput, match=r"seeds: \[0\] there, \[1\] asked"):
        run(plan_of(questions, seeds=(1,)), out)
    questions.write_text(questions.read_text().replace("(3)", "(33)"), "utf-8")
    with pytest.raises(BadInput, match="problems"):
        run(plan_of(questions), out)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_a_folder_with_something_else_in_it_is_refused(questions, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.tex").write_text("precious")
    with pytest.raises(BadInput, match=r"holds no run \(thesis.tex\)"):
        run(plan_of(questions), out)
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]


def test_two_runs_do_not_write_to_one_folder(questions, tmp_path):
    out = tmp_path / "run"

    def second(done, size):
        with ThreadPoolExecutor(1) as pool, pytest.raises(BadInput, match="another run is writing"):
            pool.submit(run, plan_of(questions), out).result()

    run(plan_of(questions), out, listener=Listener(start=second))


@dataclass(frozen=True, kw_only=True)
class Moody:
    """Fails on every other problem."""

    card: ClassVar = Card(id="moody", paper="", where="a test", needs=frozenset(), fidelity="standard")

    async def __call__(self, session):
        chain = session.chain()
        await chain.think(limit=3)
        if session.problem.question[-2] in "13579":
            raise ArithmeticError("not today")
        return await chain.finish()


def test_a_policy_that_fails_fails_its_problem_and_what_it_spent_is_counted(questions, tmp_path):
    plan = plan_of(questions, "full")
    plan = BenchPlan(models=("scripted",), tasks=plan.tasks, policies={**plan.policies, "moody": Moody()})
    results = run(plan, tmp_path / "run")
    failed = [s for s in read_samples(tmp_path / "run") if s["error"]]
    assert len(failed) == 6
    assert {(s["error"], s["verdict"], s["answer"], s["spent"]) for s in failed} == {
        ("ArithmeticError: not today", "error", None, 3)
    }
    assert {(s["error_type"], s["verdict_flexible"]) for s in failed} == {("ArithmeticError", "error")}
    (row,) = [r for r in results["rows"] if r["policy"] == "moody"]
    assert row["error_rate"] == pytest.approx(len(failed) / 12)
    assert (row["verdict"], row["saving"], row["delta_accuracy"]) == ("error", None, None)
    (told,) = run_module.failures(results)
    assert "6 of 12 answers failed" in told
    assert "ArithmeticError: not today" in told


@dataclass(frozen=True, kw_only=True)
class Broken:
    """Never works."""

    card: ClassVar = Card(id="broken", paper="", where="a test", needs=frozenset(), fidelity="standard")

    async def __call__(self, session):
        raise KeyError("x")


class Unplugged(ScriptedEngine):
    """An engine that is gone."""

    def open(self, question, label):
        raise EngineError("nobody answers")


@pytest.mark.parametrize("whole", [True, False])
def test_where_everything_fails_there_is_a_report_and_no_number(questions, tmp_path, whole):
    pytest.importorskip("altair", reason="the report extra is not installed")
    from satisfice.report.page import draw

    plan = plan_of(questions, "full")
    plan = BenchPlan(models=("scripted",), tasks=plan.tasks, policies={**plan.policies, "broken": Broken()})
    engine = Unplugged(Chooser()) if whole else ScriptedEngine(Chooser())
    results = asyncio.run(run_bench(plan, engine, tmp_path / "run", draw=draw))
    rows = {row["policy"]: row for row in results["rows"]}
    assert (rows["broken"]["verdict"], rows["broken"]["errors"], rows["broken"]["accuracy"]) == ("error", 12, None)
    assert rows["broken"]["saving"] is rows["broken"]["spent"] is None
    assert rows["full"]["verdict"] == ("error" if whole else "baseline")
    assert len(run_module.failures(results)) == 1 + whole
    html = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "failed on 12 of 12 answers" in html
    assert ("EngineError: nobody answers" if whole else "KeyError: &#39;x&#39;") in html


def test_repeated_questions_are_told_of_and_count_once(tmp_path):
    path = tmp_path / "twice.jsonl"
    rows = [{"question": f"1+1 ({i // 3})", "answer": "2", "id": f"p{i}"} for i in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    notes = []
    results = run(plan_of(path, "full"), tmp_path / "run", listener=Listener(note=notes.append))
    (row,) = results["rows"]
    assert (row["n"], row["problems"], row["samples"], row["judged"]) == (4, 12, 12, 4)
    assert "8 problems repeat a question" in notes[0]


def test_samples_that_failed_are_done_again_by_the_same_command(questions, tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Recovering(Moody):
        async def __call__(self, session):
            if well:
                return await session.chain().finish()
            return await super().__call__(session)

    well = False
    plan = plan_of(questions, "full")
    plan = BenchPlan(models=("scripted",), tasks=plan.tasks, policies={**plan.policies, "moody": Recovering()})
    run(plan, tmp_path / "run")
    first = list(read_samples(tmp_path / "run"))
    again = run(plan, tmp_path / "run")
    assert [row["error"] for row in list(read_samples(tmp_path / "run"))].count("ArithmeticError: not today") == 6
    assert [row["error_rate"] for row in again["rows"]] == [0, pytest.approx(0.5)]

    well, told = True, []
    results = run(plan, tmp_path / "run", listener=Listener(start=lambda done, size: told.append((done, size))))
    assert told == [(18, 24)]
    samples = list(read_samples(tmp_path / "run"))
    assert len(samples) == len(first) == 24
    assert not any(row["error"] for row in samples)
    assert all(row["error_rate"] == 0 for row in results["rows"])
    assert [row for row in first if not row["error"]] == samples[:18]


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """Wants what the scripted engine lacks."""

    card: ClassVar = Card(id="greedy", paper="", where="a test", needs=frozenset({Need.HIDDEN}), fidelity="standard")

    async def __call__(self, session):
        return await session.chain().finish()


def test_a_need_that_the_engine_lacks_is_refused_before_anything_is_written(questions, tmp_path):
    plan = plan_of(questions, "full")
    plan = BenchPlan(models=("scripted",), tasks=plan.tasks, policies={"greedy": Greedy()})
    blind = ScriptedEngine(Chooser(), provides=frozenset(Need) - {Need.HIDDEN})
    with pytest.raises(Unfit, match="greedy needs hidden states, which the scripted engine does not provide"):
        asyncio.run(run_bench(plan, blind, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [("seeds", ()), ("seeds", (0, 0)), ("seeds", (-1,)), ("margin", 0.0), ("concurrency", 0), ("temperature", -0.1),
     ("temperature", float("nan")), ("max_tokens", 0)],
)  # fmt: skip
def test_values_out_of_range_are_refused(questions, field, value):
    with pytest.raises(BadInput, match=field.replace("_", "-")):
        plan_of(questions, **{field: value})


def test_a_full_disk_loses_nothing_and_the_same_command_goes_on(questions, tmp_path, monkeypatch):
    out, reference = tmp_path / "run", tmp_path / "reference"
    monkeypatch.setattr(run_module, "SYNC_S", 0.01)
    told = []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))  # a real write that really fails, half a row written
    try:
        with pytest.raises(CannotWrite, match="The samples reported so far are safe"):
            run(plan_of(questions, concurrency=2), out, listener=Listener(sample=told.append))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept = (out / "samples.jsonl").read_bytes()
    assert kept.endswith(b"\n")
    assert len(list(read_samples(out))) == len(told) > 0
    again = run(plan_of(questions, concurrency=2), out)
    assert (out / "samples.jsonl").read_bytes().startswith(kept)
    assert lasting(again)["rows"] == lasting(run(plan_of(questions, concurrency=7), reference))["rows"]


KILLED = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_run import Chooser, plan_of
from satisfice.measure import run as run_module
from satisfice.engines.scripted import ScriptedEngine
run_module.SYNC_S = run_module.REFRESH_S = 0.05
plan = plan_of(sys.argv[1], concurrency=3)
asyncio.run(run_module.run_bench(plan, ScriptedEngine(Chooser(0.002)), Path(sys.argv[2])))
"""


@pytest.mark.slow
def test_kill_9_at_three_points_then_the_same_results(questions, tmp_path):
    out = tmp_path / "run"
    here = os.path.dirname(__file__)
    command = [sys.executable, "-c", KILLED, str(questions), str(out), here]
    for rows in (1, 9, 20):  # kill it once so many samples are on disk, wherever it then is
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while _lines(out) < rows and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, timeout=300)
    samples = list(read_samples(out))
    assert len(samples) == len({(s["policy"], s["problem"], s["seed"]) for s in samples}) == 36
    undisturbed = run(plan_of(questions, concurrency=3), tmp_path / "undisturbed")
    assert lasting(json.loads((out / "results.json").read_text())) == lasting(undisturbed)


def _lines(out):
    try:
        return (out / "samples.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def test_other_weights_under_the_same_name_are_another_config(questions, tmp_path):
    class Weighted(ScriptedEngine):
        weights = "a"

        def describe(self):
            return {**super().describe(), "weights": self.weights}

    asyncio.run(run_bench(plan_of(questions), Weighted(Chooser()), tmp_path / "run"))
    changed = Weighted(Chooser())
    changed.weights = "b"
    with pytest.raises(BadInput, match=r"weights: \{'scripted': 'a'\} there, \{'scripted': 'b'\} asked"):
        asyncio.run(run_bench(plan_of(questions), changed, tmp_path / "run"))
