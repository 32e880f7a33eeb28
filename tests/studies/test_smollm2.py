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


@pytest.mark.slow
def test_concise_adapters_are_trained_chosen_measured_and_their_tables_made_again(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="trains: make test-train")
    study = "shaping-smollm2"
    run(
        study, tmp_path, "--only", "kimi-length", "--steps", "5", "--prompts", "2", "--group", "2", "--limit", "8",
        "--rank", "4", "--learning-rate", "1e-5", "--problems", "2", "--calibration", "2", "--before", "",
    )  # fmt: skip
    page = (tmp_path / "README.md").read_text("utf-8")
    for text in ("**All families**", "| reasoning | `full` | 4 |", "| kimi-length | `full` | 4 |", "| kimi-length-5 |"):
        assert text in page
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    adapter = tmp_path / "runs" / "adapters" / "kimi-length"
    card = (adapter / "README.md").read_text("utf-8")
    assert "| chain-sum:easy@1 | 2 |" in card
    assert "| steps | 5 |" in card
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "README.md").unlink()
    run(study, tmp_path, "--stage", "show", "--before", "")
    assert (tmp_path / "README.md").read_text("utf-8") == page
