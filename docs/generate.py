"""Write the pages that are made from what is there: methods, commands, the API, and the studies.

`python docs/generate.py` writes them; `make docs` runs it. They are not committed.
"""

import ast
import importlib
import inspect
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import altair
import griffe
import vl_convert
from griffe2md import ConfigDict, render_object_docs

from satisfice import catalog
from satisfice.core.shaper import Shaper
from satisfice.core.trainer import trainer_asks

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src"
STUDIES = DOCS.parent / "studies"
GALLERY = DOCS.parent / "gallery"
FAMILIES = tuple(catalog.FAMILIES)
INTRO = """# Methods

A policy is used by its id, `--policies deer`, or with its fields, `deer(threshold=0.9)`; so are samplers and shapers
where one of these is asked for. *Fidelity* says where its
formula comes from: the authors' `code`, the `paper`, a `second-hand` digest, `reconstructed` by us where the exact form
is not published, or `standard` practice.

"""


def main() -> int:
    pages = {DOCS / "methods" / f"{name}.md": text for name, text in method_pages()}
    pages |= {DOCS / "api" / f"{name}.md": text for name, text in api_pages()}
    pages |= {DOCS / "studies" / f"{name}.md": text for name, text in study_pages()}
    pages |= {DOCS / "gallery" / f"{name}.md": text for name, text in gallery_pages()}
    pages[DOCS / "commands.md"] = commands_page()
    for path, text in pages.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return 0


# Methods: what each says of itself


def method_pages() -> Iterator[tuple[str, str]]:
    rows = catalog.methods()
    table = "| method | what it does | paper | needs | fidelity |\n| --- | --- | --- | --- | --- |\n"
    for row in rows:
        link = f"[{row['id']}]({row['family']}.md#{row['id']})"
        cells = (link, row["summary"].rstrip("."), _paper(row["paper"]), _needs(row), row["fidelity"])
        table += f"| {' | '.join(cells)} |\n"
    yield "index", INTRO + table + "\n```{toctree}\n:hidden:\n\n" + "\n".join(FAMILIES) + "\n```\n"
    for family in FAMILIES:
        about = _doc(importlib.import_module(f"satisfice.methods.{family}"))
        sections = [_method(row) for row in rows if row["family"] == family]
        yield family, f"# {family.capitalize()}\n\n{_prose(about)}\n\n" + "\n".join(sections)


def _method(row: dict[str, Any]) -> str:
    name, method = row["id"], catalog.FAMILIES[row["family"]].methods[row["id"]]
    facts = [f"`satisfice.methods.{row['family']}.{method.__name__}`"]
    facts += [f"also `{alias}`" for alias in row["aliases"]]
    facts += [", ".join(filter(None, (_paper(row["paper"]), row["where"])))]
    facts += [f"fidelity: {row['fidelity']}", f"needs {_needs(row)}"]
    text = f"({name})=\n## {name}\n\n{_prose(_doc(method))}\n\n{' · '.join(facts)}\n"
    for required, means in row["requires"].items():
        text += f"\nReads `{required}`: {means}.\n"
    if row["kind"] == "shaper" and (asked := sorted(one.means for one in trainer_asks(cast(Shaper, method())))):
        text += f"\nAsks of a trainer: {'; '.join(asked)}.\n"
    if row["fields"]:
        comments = _comments(method)
        text += "\n| field | takes | default | |\n| --- | --- | --- | --- |\n"
        for field in row["fields"]:
            ours = " (our default: the source gives none)" if field["ours"] else ""
            default = "none" if field["default"] is None else field["default"]
            about = comments.get(field["name"], "") + ours
            text += f"| `{field['name']}` | {field['takes']} | `{default}` | {about} |\n"
    for model, preset in row["presets"].items():
        text += (
            f"\n`{name}@{model}` is `{preset['spec']}`, which the study `{preset['study']}` recommends for {model}.\n"
        )
    return text


def _needs(row: dict[str, Any]) -> str:
    return ", ".join(row["needs"]) or "text only"


def _paper(paper: str) -> str:
    number = paper.removeprefix("arXiv:")
    return f"[{paper}](https://arxiv.org/abs/{number})" if number != paper else paper


def _comments(method: type) -> dict[str, str]:
    """The comment behind each field: its unit and meaning."""
    found = {}
    for line in inspect.getsource(method).splitlines():
        code, hash_, comment = line.partition("  # ")
        if hash_ and ":" in code:
            found[code.partition(":")[0].strip()] = comment
    return found


# API: what griffe reads in the source


def api_pages() -> Iterator[tuple[str, str]]:
    package = griffe.load("satisfice", search_paths=[str(SOURCE)], docstring_parser="google")
    parts = {name: part for name, part in package.modules.items() if not name.startswith("_") and not part.is_alias}
    for name, part in sorted(parts.items()):
        yield name, f"# satisfice.{name}\n\n" + "\n\n".join(_module(module) for module in _modules(part))
    intro = "By package; `from satisfice import ...` gives the names used most."
    yield "index", f"# API\n\n{intro}\n\n```{{toctree}}\n" + "\n".join(sorted(parts)) + "\n```\n"


def _modules(module: griffe.Module) -> Iterator[griffe.Module]:
    """Yield a module and the public ones inside it."""
    yield module
    for name, part in sorted(module.modules.items()):
        if not name.startswith("_") and not part.is_alias:
            yield from _modules(part)


def _module(module: griffe.Module) -> str:
    settings = ConfigDict(
        heading_level=2, docstring_style="google", summary=False, show_submodules=False, show_if_no_docstring=False,
        separate_signature=True, line_length=110,
    )  # fmt: skip
    text: str = render_object_docs(module, settings)
    return re.sub(r"\[([^\]\n]*)\]\(#[^)\s]*\)", r"\1", text)  # its links are to anchors that the site does not have


# Commands: what typer writes about the command line


def commands_page() -> str:
    command = [sys.executable, "-m", "typer", "satisfice.cli.main", "utils", "docs", "--name", "satisfice"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace("&#x27;", "'")


# Studies: their pages, with links that hold inside the site


def study_pages() -> Iterator[tuple[str, str]]:
    names = sorted(path.parent.name for path in STUDIES.glob("*/README.md"))
    for name in names:
        text = (STUDIES / name / "README.md").read_text("utf-8")
        text = re.sub(r"\]\(\.\./([\w-]+)/README\.md(#[^)]*)?\)", r"](\1.md\2)", text)
        text = re.sub(r"\[([^]]*)\]\(\.\./\.\./([^)]*)\)", r"\1 (`\2`)", text)
        for picture in (STUDIES / name).glob("*.png"):
            (DOCS / "studies").mkdir(exist_ok=True)
            shutil.copyfile(picture, DOCS / "studies" / f"{name}-{picture.name}")
            text = text.replace(f"]({picture.name})", f"]({name}-{picture.name})")
        yield name, text
    intro = "What was compared with what, with the commands that made every figure."
    yield "index", f"# Studies\n\n{intro}\n\n```{{toctree}}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"


# Gallery: each page runs, holds what it says, and draws


def gallery_pages() -> Iterator[tuple[str, str]]:
    names = sorted(path.stem for path in GALLERY.glob("*.py"))
    (DOCS / "gallery").mkdir(exist_ok=True)
    for name in names:
        path = GALLERY / f"{name}.py"
        module = runpy.run_path(str(path))
        found = module["simulate"]()
        module["check"](found)
        chart: altair.Chart = module["draw"](found)
        png = vl_convert.vegalite_to_png(chart.to_json(), scale=2)
        (DOCS / "gallery" / f"{name}.png").write_bytes(png)
        numbers = "".join(f"| {key} | {value:.4g} |\n" for key, value in found.items() if isinstance(value, float))
        source = path.read_text("utf-8")
        text_end = ast.parse(source).body[0].end_lineno  # of the text above, which the page begins with
        code = "\n".join(source.splitlines()[text_end:]).strip()
        yield (
            name,
            (
                f"{inspect.cleandoc(module['__doc__'])}\n\n![{name}]({name}.png)\n\n| number | value |\n| --- | --- |\n"
                f"{numbers}\n`python` runs it: `gallery/{name}.py`.\n\n```python\n{code}\n```\n"
            ),
        )
    intro = "One idea per page: a short program that runs, draws, and checks what it says."
    yield "index", f"# Gallery\n\n{intro}\n\n```{{toctree}}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"


def _doc(thing: object) -> str:
    return inspect.getdoc(thing) or ""


def _prose(docstring: str) -> str:
    """A docstring is Markdown already, but for examples and sections, which get their marks here."""
    out: list[str] = []
    example = False
    for line in docstring.splitlines():
        starts, ends = line.lstrip().startswith(">>>") and not example, example and not line.strip()
        if starts or ends:
            out.append("```python" if starts else "```")
            example = starts
        section = line in ("Args:", "Raises:", "Returns:")
        out.append(f"**{line[:-1]}**\n" if section else line.strip() if example else line)
    return "\n".join(out) + ("\n```" if example else "")


if __name__ == "__main__":
    sys.exit(main())
