"""The page on what carries over, against the results that it is made of."""

import subprocess
import sys
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[2] / "studies" / "carry-over"
if not STUDY.is_dir():
    pytest.skip("needs the studies, which only a clone has", allow_module_level=True)


def test_its_tables_are_those_of_the_results_that_lie_in_the_studies(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("# A page\n", "utf-8")
    done = subprocess.run(
        [sys.executable, STUDY / "run.py", "--page", page], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    tables = page.read_text("utf-8").removeprefix("# A page\n").strip()
    assert "**Stop rules" in tables
    assert "**Training" in tables
    assert tables in (STUDY / "README.md").read_text("utf-8")
