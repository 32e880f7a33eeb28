"""The files that a public project has beside its code, held against the schemas of those who read them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import satisfice

ROOT = Path(__file__).parents[1]
if not (ROOT / ".github").is_dir():
    pytest.skip("needs a clone: the sdist leaves these files out", allow_module_level=True)

FILES = [
    ("vendor.github-workflows", ".github/workflows/ci.yml"),
    ("vendor.github-workflows", ".github/workflows/release.yml"),
    ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/fault.yml"),
    ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/method.yml"),
    ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/question.yml"),
    ("vendor.readthedocs", ".readthedocs.yaml"),
    ("vendor.citation-file-format", "CITATION.cff"),
    ("vendor.compose-spec", "deploy/compose.yaml"),
]


@pytest.mark.parametrize(("schema", "file"), FILES, ids=[file for _, file in FILES])
def test_a_file_keeps_to_its_schema(schema: str, file: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_version() -> None:
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert cited is not None
    assert cited[1] == satisfice.__version__


def test_install_commands_say_what_is_true_today() -> None:
    """There is no release yet: pages install from the clone."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    wrong = [page.name for page in pages if re.search(r"pip install '?\"?satisfice", page.read_text("utf-8"))]
    assert [name for name in wrong if name not in ("log.md", "troubleshooting.md", "commands.md")] == []
