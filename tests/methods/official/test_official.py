"""What the authors' own code says on random inputs, written down by `make.py`, against what ours says."""

import json
from pathlib import Path

import pytest
from tests.methods.official.make import SOURCES
from tests.methods.official.ours import OURS, close

HERE = Path(__file__).parent
KEPT = sorted(path.stem for path in HERE.glob("*.json"))


def test_every_source_whose_licence_allows_it_is_kept() -> None:
    assert sorted(name for name, source in SOURCES.items() if source[3]) == KEPT
    assert set(OURS) == set(SOURCES)


@pytest.mark.parametrize("name", KEPT)
def test_ours_says_what_the_authors_code_says(name: str) -> None:
    row = json.loads((HERE / f"{name}.json").read_text("utf-8"))
    assert row["repository"] == SOURCES[name][0]
    differ = [(case, ours) for case in row["cases"] if not close(case["out"], ours := OURS[name](case["in"]))]
    assert not differ, f"{len(differ)} of {len(row['cases'])}, the first is {differ[0]}"
