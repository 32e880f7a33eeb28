import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from satisfice.cli.main import main
from satisfice.measure.statistics import TIMINGS

ROW = '{"question": "1+1", "answer": "2"}\n'


def satisfice(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "satisfice.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=900,
    )


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """What a person reads when the command line refuses: one message, exit code 2, nothing on standard output."""

    def ask(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["satisfice", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert left.value.code == 2
        assert said.out == ""
        return " ".join(said.err.replace("│", " ").split())

    return ask


def test_a_mistake_ends_in_one_message_without_a_traceback(tmp_path):
    done = satisfice("bench", "--policies", "full,deeer", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: unknown policy 'deeer'. Did you mean 'deer'")
    assert list(tmp_path.iterdir()) == []


def test_version_and_help_load_no_torch():
    heavy = ("torch", "transformers", "scipy", "altair")
    code = f"import sys, satisfice.cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert satisfice("--version").stdout.startswith("satisfice 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--policies", "full,deeer"), "unknown policy 'deeer'. Did you mean 'deer'"),
        (("--policies", "deer(treshold=0.9)"), "Did you mean 'threshold'"),
        (("--policies", "deer(threshold=2)"), "deer: threshold must be a number (from 0 to 1)"),
        (("--policies", "./none.py:Rule"), "there is no file ./none.py"),
        (("--tasks", "chain-sums:easy"), "Did you mean 'chain-sum:easy'"),
        (("--tasks", "chain-sum:esay"), "Did you mean 'easy'"),
        (("--tasks", "chain-sum:easy,chain-sum:easy@1"), "each named once"),
        (("--model", "./no/such/model"), "./no/such/model"),
        (("--model", "pockett"), "pockett"),
        (("--split", "evall"), "Did you mean 'eval'"),
        (("--sampler", "top-k,minp"), "unknown filter 'minp'. Did you mean 'min-p'"),
        (("--sampler", "deer"), "deer is a policy, not a filter"),
        (("--seeds", "0,x"), "seeds must be whole numbers"),
        (("--seeds", "0,0"), "different from one another"),
        (("--margin", "2"), "margin must be a fraction"),
        (("--limit", "0"), "--limit"),
        (("--limit", "100000000"), "limit is 100,000,000, and a generated task has at most 100,000 problems"),
        (("--limits", "5"), "--limit"),
        (("--out", "file.txt/run"), "file.txt"),
        (("--out", "occupied"), "holds no run (thesis.tex)"),
    ],
)
def test_bench_refuses_before_any_compute_and_writes_nothing(tmp_path, refused, arguments, message):
    (tmp_path / "file.txt").write_text("mine")
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "thesis.tex").write_text("mine")
    before = sorted(p for p in tmp_path.rglob("*"))
    assert message in refused("bench", "--limit", "2", *arguments)
    assert sorted(p for p in tmp_path.rglob("*")) == before
    assert (tmp_path / "occupied" / "thesis.tex").read_text() == "mine"


def test_solve_refuses_an_index_that_nobody_would_wait_for(refused):
    assert "less than or equal to 99999" in refused("solve", "--index", "100000000")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROW.encode() + b'{"question": "2+2"}\n', "line 2: the field 'answer' is missing"),
        (ROW.encode() + b'{"question": "2+2", "answer": "\xff"}\n', "is not UTF-8"),
        (b"\n", "has no problems"),
    ],
)
def test_bench_refuses_a_broken_file_of_problems(tmp_path, refused, content, message):
    (tmp_path / "mine.jsonl").write_bytes(content)
    assert message in refused("bench", "--tasks", "mine.jsonl")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.jsonl"]


def test_bench_refuses_a_model_with_pickled_weights_only(tmp_path, refused):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert "pickled weights (pytorch_model.bin)" in refused("bench", "--model", "model", "--limit", "2")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("polices = ['full']\n", "Did you mean 'policies'"),
        ("limit = 'many'\n", "limit = 'many'"),
        ("limit = \n", "cannot be read"),
    ],
)
def test_a_run_file_with_a_mistake_is_refused(tmp_path, refused, text, message):
    (tmp_path / "run.toml").write_text(text)
    assert message in refused("bench", "--config", "run.toml")


def test_the_flags_win_over_the_run_file(tmp_path, refused):
    (tmp_path / "run.toml").write_text('policies = ["full", "deeer"]\ntasks = "gcd:nowhere"\nmax-tokens = 64\n')
    assert "unknown policy 'deeer'" in refused("bench", "--config", "run.toml")
    assert "nowhere" in refused("bench", "--config", "run.toml", "--policies", "full")


def test_doctor_says_what_is_there():
    report = json.loads(satisfice("doctor", "--json").stdout)
    assert report["engines"]["local"]["ready"]
    assert "fork" in report["engines"]["local"]["provides"]
    assert set(report["engines"]["http"]["provides"]) == {
        "abort",
        "fork",
        "inject",
        "render",
    }  # the rest depends on the server
    vllm = report["engines"]["vllm"]
    assert vllm["ready"] or "pip install 'satisfice[vllm]'" in vllm["why"]
    assert report["pocket"]["weights"]
    assert satisfice("doctor").returncode == 0


def test_compare_and_report_want_a_run(tmp_path, refused):
    assert "holds no run" in refused("compare", tmp_path, tmp_path)
    assert "holds no run" in refused("report", tmp_path)


@pytest.fixture(scope="module")
def pocket_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "run"
    done = satisfice(*bench_of(out))
    assert done.returncode == 0, done.stderr
    return out, done


def bench_of(out: Path):
    return ("bench", "--tasks", "chain-sum:easy,gcd:easy", "--policies", "full,cap:24,deer,first-finish(n=2)",
            "--limit", 6, "--seeds", "0,1", "--out", out)  # fmt: skip


@pytest.mark.slow
def test_bench_on_the_pocket_model(pocket_run):
    out, done = pocket_run
    assert {"samples.jsonl", "results.json", "report.html", "frontier.png"} <= {p.name for p in out.iterdir()}
    results = json.loads((out / "results.json").read_text())
    assert len(results["rows"]) == 2 * 4
    for row in results["rows"]:
        assert row["spent"] == pytest.approx(row["kept"] + row["probe"] + row["dropped"])
        assert row["n"] == 6
        assert row["error_rate"] == 0
        assert {"fixed-budget(tokens=24)": "cap:24"}.get(row["policy"], row["policy"]) in done.stdout  # as typed
    assert results["config"]["policies"] == ["full", "fixed-budget(tokens=24)", "deer", "first-finish(n=2)"]


@pytest.mark.slow
def test_a_run_compared_with_itself_differs_by_nothing(pocket_run):
    out, _ = pocket_run
    compared = json.loads(satisfice("compare", out, out, "--json").stdout)
    assert len(compared["rows"]) == 8
    assert {(row["delta_accuracy"], row["saving"]) for row in compared["rows"]} == {(0.0, 0.0)}
    assert "deer" in satisfice("compare", out, out).stdout


@pytest.mark.slow
def test_kill_9_at_three_random_points_then_the_same_results(pocket_run, tmp_path):
    undisturbed, _ = pocket_run
    out = tmp_path / "run"
    command = [sys.executable, "-m", "satisfice.cli", *map(str, bench_of(out))]
    for rows in (0, 20, 60):  # once so many samples are on disk; where the run then is, is chance
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (out.exists() and _lines(out) >= rows):
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = satisfice(*bench_of(out))
    assert done.returncode == 0, done.stderr
    assert _lasting(out) == _lasting(undisturbed)
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text("utf-8").splitlines()]
    assert len(samples) == len({(s["policy"], s["task"], s["problem"], s["seed"]) for s in samples}) == 96


@pytest.mark.slow
def test_what_a_run_says_is_json_for_whoever_asks(pocket_run, tmp_path):
    out, _ = pocket_run
    done = satisfice(*bench_of(out), "--json")
    results = json.loads(done.stdout)
    assert results == json.loads((out / "results.json").read_text())
    assert "Going on: 96 of 96" in done.stderr
    solved = json.loads(satisfice("solve", "--task", "chain-sum:easy", "--json").stdout)
    assert solved["verdict"] in ("right", "wrong")
    assert solved["ledger"]["spent"] > 0
    assert solved["looks"]
    files = json.loads(satisfice("export", out, "--out", tmp_path / "lm-eval", "--json").stdout)["files"]
    assert files
    assert all(Path(file).exists() for file in files)
    assert all(Path(file).exists() for file in json.loads(satisfice("report", out, "--json").stdout)["files"])


@pytest.mark.slow
def test_bench_without_a_baseline_warns_before_it_runs(tmp_path):
    done = satisfice(
        "bench", "--policies", "cap:24", "--limit", 2, "--tasks", "chain-sum:easy", "--out", tmp_path / "x"
    )
    assert done.returncode == 0, done.stderr
    assert "No policy is full" in " ".join(done.stderr.split())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_what_is_stopped_says_that_the_same_command_goes_on(tmp_path, number):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "satisfice.cli", "bench", "--limit", "2000", "--out", str(out)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    ) as process:  # fmt: skip
        try:
            while process.poll() is None and not (out.exists() and _lines(out)):
                time.sleep(0.01)
            process.send_signal(number)
            said = process.communicate(timeout=120)[1]
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert "the same command goes on from there" in " ".join(said.split())
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_card_is_in_words():
    done = satisfice("card", "--limit", 12)
    assert done.returncode == 0, done.stderr
    assert "Does thinking pay?" in done.stdout
    assert "_" not in done.stdout


@pytest.mark.slow
def test_solve_shows_the_thinking_the_looks_and_the_bill():
    done = satisfice("solve", "--task", "chain-sum:easy", "--policy", "deer")
    assert done.returncode == 0, done.stderr
    assert "answer:" in done.stdout
    assert "Spent" in done.stdout


@pytest.mark.slow
def test_a_full_disk_is_told_in_one_message_and_the_same_command_goes_on(pocket_run, tmp_path):
    undisturbed, _ = pocket_run
    out = tmp_path / "run"
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, {2**40})); "
    code = limited + "import sys; from satisfice.cli.main import main; sys.argv[0] = 'satisfice'; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, bench_of(out))], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "give the same command again" in " ".join(done.stderr.split())
    assert satisfice(*bench_of(out)).returncode == 0
    assert _lasting(out) == _lasting(undisturbed)


def _lines(out):
    try:
        return (out / "samples.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _lasting(out):
    results = json.loads((out / "results.json").read_text("utf-8"))
    rows = [{k: v for k, v in row.items() if k not in TIMINGS} for row in results["rows"]]
    return {**results, "environment": None, "rows": rows}
