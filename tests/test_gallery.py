"""The gallery: every page runs, draws, and holds what it says; each is short."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "gallery").glob("*.py"))
LINES = 150
if not PAGES:
    pytest.skip("needs a clone: the sdist leaves the gallery out", allow_module_level=True)


def page(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"gallery_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", PAGES, ids=[path.stem for path in PAGES])
def test_a_page_is_short_and_says_what_it_shows(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LINES
    module = page(path)
    assert (module.__doc__ or "").startswith("# ")
    assert all(callable(getattr(module, name)) for name in ("simulate", "check", "draw"))


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=[path.stem for path in PAGES])
def test_a_page_holds_what_it_says_and_draws(path: Path) -> None:
    module = page(path)
    found = module.simulate()
    module.check(found)
    chart = module.draw(found).to_dict()
    assert chart.get("mark") or chart.get("layer")
