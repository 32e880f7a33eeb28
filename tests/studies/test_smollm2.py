"""The studies on SmolLM2 from their first stage to their tables, on the pocket model; tables again without the runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "studies"
if not STUDIES.is_dir():
    pytest.skip("needs the studies, which only a clone has", allow_module_level=True)


def run(study: str, folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, STUDIES / study / "run.py", "--model", "pocket", "--tasks", "chain-sum:easy,gcd:easy",
         "--out", folder / "runs", "--results", folder, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "arguments", "told"),
    [
        (
            "stopping-smollm2",
            ("--problems", "2", "--calibration", "2", "--live", "1", "--live-choose", "1"),
            ("| `deer` | replayed | 4 |", "| `eot-temperature` | live | 2 |", "| rule | how | chain-sum:easy |"),
        ),
        (
            "parallel-smollm2",
            ("--problems", "2", "--prose", "2", "--chains", "4"),
            ("| `self-consistency(n=4)` | replayed | 4 |", "| a plan that ends by itself", "| 4 | 0 % |"),
        ),
    ],
)
def test_a_study_goes_from_its_first_stage_to_its_tables(
    tmp_path: Path, study: str, arguments: tuple[str, ...], told: tuple[str, ...]
) -> None:
    run(study, tmp_path, *arguments)
    page = (tmp_path / "README.md").read_text("utf-8")
    for text in told:
        assert text in page
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "README.md").unlink()
    run(study, tmp_path, "--stage", "show")
    assert (tmp_path / "README.md").read_text("utf-8") == page
