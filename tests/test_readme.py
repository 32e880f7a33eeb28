import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_the_example_prints_what_the_readme_says() -> None:
    code, printed = re.findall(r"```(?:python|text)\n(.*?)```", README, re.DOTALL)[:2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Policies and answers as printed; token counts only nearly, since rounding differs from one processor to the next.
    lines, shown = ([line.split() for line in text.splitlines()] for text in (done.stdout, printed))
    assert [line[:-1] for line in lines] == [line[:-1] for line in shown]
    assert all(abs(int(a[-1]) - int(b[-1])) <= int(b[-1]) // 2 for a, b in zip(lines, shown, strict=True))


def test_every_path_it_names_exists() -> None:
    root = Path(__file__).parents[1]
    linked = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r"`((?:src|tests|docs)/[\w/.]+)`", README)
    tree, package = [], ""
    for inner, name in re.findall(r"^(│   )?[├└]── ([\w.]+)", README, re.MULTILINE):
        package = package if inner else name
        tree.append(f"src/satisfice/{package}/{name}" if inner else f"src/satisfice/{name}")
    assert len(tree) > 15
    assert [path for path in linked + tree if not (root / path).exists()] == []
