"""Every study shows its page's tables from committed data, without a model and without its runs."""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STUDIES = Path(__file__).parents[2] / "studies"
if not STUDIES.is_dir():
    pytest.skip("needs the studies, which only a clone has", allow_module_level=True)
pytestmark = pytest.mark.slow
NAMES = sorted(page.parent.name for page in STUDIES.glob("*/README.md"))


@pytest.fixture
def study(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The command of a study; modules beside it are forgotten afterwards, since another study may have such names."""
    folder = STUDIES / request.param
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.syspath_prepend(str(STUDIES))
    known = set(sys.modules)
    spec = importlib.util.spec_from_file_location(f"study_{request.param.replace('-', '_')}", folder / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in set(sys.modules) - known:
        if str(folder) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


@pytest.mark.parametrize(("study", "name"), [(name, name) for name in NAMES], indirect=["study"], ids=NAMES)
def test_the_tables_of_the_page_are_those_of_the_committed_results(
    study: Any, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (STUDIES / name / "README.md").read_text("utf-8")
    for file in ("README.md", "results.json"):
        if (STUDIES / name / file).exists():
            shutil.copy(STUDIES / name / file, tmp_path / file)
    study.main(["--stage", "show", "--results", str(tmp_path)])
    told = capsys.readouterr().out.strip()
    assert told.count("| --- |") >= 1
    assert told in page
    assert (tmp_path / "README.md").read_text("utf-8") == page, "what is put into the page is there"
