"""Write the pages that are made from the code: the methods, from the catalogue, and the API, from the source.

`python docs/generate.py` writes them; `make docs` runs it. They are not committed.
"""

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from satisfice import catalog

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src" / "satisfice"
FAMILIES = tuple(catalog.FAMILIES)
PACKAGES = (
    "core",
    "answers",
    "tasks",
    *(f"methods/{name}" for name in FAMILIES),
    "models",
    "engines",
    "recordings",
    "measure",
    "report",
    "recommend",
    "testing",
)
INTRO = """# Methods

A policy is used by its id, `--policies deer`, or with its fields, `deer(threshold=0.9)`; so are samplers and shapers
where one of these is asked for. *Fidelity* says where its
formula comes from: the authors' `code`, the `paper`, a `second-hand` digest, `reconstructed` by us where the exact form
is not published, or `standard` practice.

"""


def main() -> int:
    pages = {DOCS / "methods" / f"{name}.md": text for name, text in method_pages()}
    pages |= {DOCS / "api" / f"{name}.md": text for name, text in api_pages()}
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
    if row["fields"]:
        comments = _comments(method)
        text += "\n| field | takes | default | |\n| --- | --- | --- | --- |\n"
        for field in row["fields"]:
            ours = " (our default: the source gives none)" if field["ours"] else ""
            default = "none" if field["default"] is None else field["default"]
            about = comments.get(field["name"], "") + ours
            text += f"| `{field['name']}` | {field['takes']} | `{default}` | {about} |\n"
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


# API: signatures and docstrings as they stand in the source


def api_pages() -> Iterator[tuple[str, str]]:
    shown = []
    for package in PACKAGES:
        modules = [path for path in sorted((SOURCE / package).glob("*.py")) if _public(path.stem)]
        if sections := [section for path in modules if (section := _module(path))]:
            shown.append(page := package.replace("/", "-"))
            about = ast.get_docstring(ast.parse((SOURCE / package / "__init__.py").read_text("utf-8"))) or ""
            yield page, f"# satisfice.{package.replace('/', '.')}\n\n{_prose(about)}\n\n" + "\n".join(sections)
    yield "catalog", _module(SOURCE / "catalog.py").replace("## ", "# ", 1).replace("\n### ", "\n## ")
    toc = "\n".join([*shown, "catalog"])
    intro = "By package; `from satisfice import ...` gives the names used most."
    yield "index", f"# API\n\n{intro}\n\n```{{toctree}}\n{toc}\n```\n"


def _module(path: Path) -> str:
    source = path.read_text("utf-8")
    tree = ast.parse(source)
    lines = source.splitlines()
    name = ".".join(("satisfice", *path.relative_to(SOURCE).with_suffix("").parts))
    items = [_item(node, lines) for node in tree.body if _documented(node)]
    return f"## {name}\n\n{_prose(ast.get_docstring(tree) or '')}\n\n" + "\n".join(items) if items else ""


def _item(node: ast.stmt, lines: list[str]) -> str:
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    text = f"### {node.name}\n\n```python\n{_signature(node, lines)}\n```\n\n{_prose(ast.get_docstring(node) or '')}\n"
    if isinstance(node, ast.ClassDef):
        for inner in filter(_documented, node.body):
            assert isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            text += f"\n```python\n{_signature(inner, lines)}\n```\n\n{_prose(ast.get_docstring(inner) or '')}\n"
    return text


def _signature(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> str:
    """The head of a definition as written; for a class also its fields, whose comments say what they mean."""
    begin = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    head = lines[begin - 1 : max(node.lineno, node.body[0].lineno - 1)]
    if isinstance(node, ast.ClassDef):
        head = lines[begin - 1 : node.lineno]
        for field in node.body:
            if isinstance(field, ast.AnnAssign | ast.Assign) and _public(ast.unparse(field).partition(":")[0]):
                head += lines[field.lineno - 1 : field.end_lineno]
    indent = len(head[0]) - len(head[0].lstrip())
    return "\n".join(line[indent:] for line in head).rstrip().removesuffix(": ...").removesuffix(":")


def _documented(node: ast.stmt) -> bool:
    known = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return known and _public(node.name) and bool(ast.get_docstring(node))  # type: ignore[attr-defined, arg-type]


def _public(name: str) -> bool:
    return not name.startswith("_")


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
