"""Numbers of runs in a small file: the same rows come out of it as out of the runs."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from satisfice.core.errors import BadInput
from satisfice.engines import load_engine
from satisfice.measure.plan import make_plan
from satisfice.measure.run import run_bench
from satisfice.measure.statistics import TIMINGS

STUDIES = Path(__file__).parents[2] / "studies"
if not STUDIES.is_dir():
    pytest.skip("needs the studies, which only a clone has", allow_module_level=True)
sys.path.insert(0, str(STUDIES))
from library.kept import ALL, keep, kept, numbers, put_tables, rows_of  # noqa: E402


def test_the_rows_of_a_run_come_out_of_its_numbers(tmp_path: Path) -> None:
    plan = make_plan(model="pocket", tasks=["chain-sum:easy", "gcd:easy"], policies="full,nothinking", limit=3)
    results = asyncio.run(run_bench(plan, load_engine("pocket", rows=16, batch=16), tmp_path / "run"))
    file = tmp_path / "samples.jsonl.xz"
    keep(file, {"a": tmp_path / "run", "b": tmp_path / "run"}, ["stop_reason"])
    found = kept(file)
    assert list(found) == ["a", "b"]
    assert found["a"] == found["b"] == numbers(tmp_path / "run", ["stop_reason"])
    assert found["a"][0]["stop_reason"] == "model"
    pooled, each = rows_of(found["a"])[:2], rows_of(found["a"])[2:]
    plain = [{name: value for name, value in row.items() if name not in TIMINGS} for row in results["rows"]]
    assert [{name: value for name, value in row.items() if name not in TIMINGS} for row in each] == plain
    assert [(row["policy"], row["task"], row["n"]) for row in pooled] == [("full", ALL, 6), ("nothinking", ALL, 6)]
    assert pooled[1]["spent"] == pytest.approx(sum(row["spent"] for row in each if row["policy"] == "nothinking") / 2)
    again = tmp_path / "again.xz"
    keep(again, {"a": tmp_path / "run", "b": tmp_path / "run"}, ["stop_reason"])
    assert again.read_bytes() == file.read_bytes()
    with pytest.raises(BadInput):
        numbers(tmp_path)
    assert kept(tmp_path / "nothing.xz") == {}


def test_a_sample_that_was_done_again_counts_once(tmp_path: Path) -> None:
    plan = make_plan(model="pocket", tasks=["chain-sum:easy"], policies="nothinking", limit=2)
    asyncio.run(run_bench(plan, load_engine("pocket", rows=16, batch=16), tmp_path))
    file = tmp_path / "samples.jsonl"
    first = file.read_text().splitlines()[0]
    failed = json.loads(first) | {"error": "EngineError: lost", "error_type": "EngineError", "verdict": "error"}
    file.write_text(json.dumps(failed) + "\n" + file.read_text())
    assert [row["error"] for row in numbers(tmp_path)] == ["", ""]


def test_tables_take_the_place_of_those_before(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    put_tables(page, "one")
    page.write_text(f"# Above\n{page.read_text()}below\n")
    put_tables(page, "two")
    assert page.read_text() == "# Above\n<!-- tables:begin -->\ntwo\n<!-- tables:end -->\nbelow\n"
