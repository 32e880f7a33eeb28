"""Every figure of the page that advises is the figure of the study that it names."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if not (ROOT / "studies").is_dir():
    pytest.skip("needs the studies, which only a clone has", allow_module_level=True)

ROW = re.compile(
    r"^\| [^|]*`(?P<task>[^`]+)` \| `(?P<rule>[^`]+)`[^|]*\| (?P<saves>[^|]+) \| (?P<points>[^|]+) \| (?P<n>\d+) "
    r"\| \[(?P<study>[\w-]+)\]",
    re.MULTILINE,
)
ADVICE = [match.groupdict() for match in ROW.finditer((ROOT / "docs" / "which-rule.md").read_text("utf-8"))]


def interval(row: dict[str, float], name: str, form: str) -> str:
    """A figure in percent with its interval, as the page writes it."""
    value, low, high = (100 * row[key] for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value:{form}}{' %' if form == '.1f' else ''} ({low:{form}} to {high:{form}})"


def test_all_rows_of_the_page_are_read() -> None:
    page = (ROOT / "docs" / "which-rule.md").read_text("utf-8")
    assert len(ADVICE) == sum(line.startswith("| ") and "](studies/" in line for line in page.splitlines()) > 15


@pytest.mark.parametrize("advice", ADVICE, ids=lambda row: f"{row['study']} {row['task']} {row['rule']}")
def test_a_figure_is_the_studys(advice: dict[str, str]) -> None:
    results = json.loads((ROOT / "studies" / advice["study"] / "results.json").read_text("utf-8"))
    if "confirmed" in results:  # a study of training: a row per trained method, here without a rule on top
        rows = [{**row, "policy": row["method"]} for row in results["confirmed"] if row["policy"] == "full"]
    else:
        rows = results["rows"]
    found = [row for row in rows if (row["task"], row["policy"]) == (advice["task"], advice["rule"])]
    assert len(found) == 1
    assert found[0]["n"] == int(advice["n"])
    assert advice["saves"].strip() == interval(found[0], "saving", ".1f")
    assert advice["points"].strip() == interval(found[0], "delta_accuracy", "+.1f")
