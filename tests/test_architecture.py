import re
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "satisfice"
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
MARKED = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", PAGE)


@cache
def words() -> frozenset[str]:
    """Return every word of the package's source."""
    return frozenset(re.findall(r"\w+", "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))))


def test_every_path_it_names_exists() -> None:
    paths = [text for text in MARKED if text.endswith("/") or re.fullmatch(r"[\w/]+\.(py|toml|md)", text)]
    assert len(paths) > 80
    assert [path for path in paths if not any((base / path).exists() for base in (PACKAGE, ROOT))] == []


def test_every_name_it_mentions_stands_in_the_code() -> None:
    names = [text for text in MARKED if re.fullmatch(r"[A-Za-z_]\w+", text)]
    assert len(names) > 50
    assert [name for name in names if name not in words()] == []


def test_a_name_with_its_file_behind_it_stands_in_that_file() -> None:
    pairs = re.findall(r"`([A-Za-z_]\w+)`\s\(`([\w/]+\.py)`\)", PAGE)
    assert len(pairs) > 20
    assert [(name, path) for name, path in pairs if not re.search(rf"\b{name}\b", _text(path))] == []


def test_the_list_of_layers_is_that_of_the_import_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    listed = re.findall(r"^\d+\. (`.*)$", PAGE, re.MULTILINE)
    assert [re.findall(r"\w+", line) for line in listed] == [re.findall(r"\w+", layer) for layer in layers]


def _text(path: str) -> str:
    return (PACKAGE / path).read_text("utf-8")
