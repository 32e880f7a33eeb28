"""What keeps the house in order and no linter knows: private modules stay in their package, and files stay short."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "satisfice"
LINES = 400  # a longer file wants dividing


def imported(path: Path) -> list[str]:
    """Return the modules that a file imports, and what it imports from them, as dotted names."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if name.startswith("satisfice.")]


def home_of_private(name: str) -> str | None:
    """Return the package that the first private module of a dotted name lies in; None when no module is private.

    A private *name* in a public module counts too: it is that module's own.
    """
    parts = name.split(".")
    at = next((i for i, part in enumerate(parts) if part.startswith("_") and not part.startswith("__")), None)
    return None if at is None else ".".join(parts[:at])


def package_of(path: Path) -> str:
    return ".".join(("satisfice", *path.relative_to(SOURCE).parent.parts))


def test_private_modules_and_names_stay_in_their_package() -> None:
    wrong = []
    for path in SOURCE.rglob("*.py"):
        for name in imported(path):
            home = home_of_private(name)
            if home is not None and not (package_of(path) + ".").startswith(_package(home) + "."):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_tests_import_what_is_private_only_of_the_package_that_they_mirror() -> None:
    wrong = []
    for path in (ROOT / "tests").rglob("*.py"):
        mirrored = ".".join(("satisfice", *path.relative_to(ROOT / "tests").parent.parts))
        for name in imported(path):
            home = home_of_private(name)
            if home is not None and not (mirrored + ".").startswith(_package(home) + "."):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_no_file_is_long() -> None:
    long = {
        str(path.relative_to(ROOT)): n
        for path in SOURCE.rglob("*.py")
        if (n := len(path.read_text("utf-8").splitlines())) > LINES
    }
    assert long == {}


def _package(module: str) -> str:
    """Return the package of a module, or the package itself."""
    path = SOURCE.joinpath(*module.split(".")[1:])
    return module if path.is_dir() else module.rpartition(".")[0]
