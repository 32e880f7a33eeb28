"""The command `methods`: the catalogue, or all about one of its methods."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from satisfice.cli import complete
from satisfice.cli.common import out_console, print_json
from satisfice.cli.options import Json
from satisfice.core.errors import UnknownName

EVIDENCE = {
    "code": "its default was run beside the authors' released code",
    "paper": "follows the text of the paper",
    "second-hand": "follows a digest of the paper, not the paper itself",
    "reconstructed": "its exact form is not published; this form is ours",
    "standard": "standard practice that no single paper owns",
}
"""What the fidelity on a card says about how far a method can be trusted to be the published one."""


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="One method, to see whole.", autocompletion=complete.methods)
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Only the methods of this family.", autocompletion=complete.families)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the methods that there are, or show one with its fields, its source and what it differs in."""
    from satisfice import catalog

    rows = catalog.methods()
    if name is not None:
        row = _one(rows, name)
        about = inspect.getdoc(catalog.METHODS[row["id"]]) or ""
        if as_json:
            print_json({**row, "about": about, "evidence": EVIDENCE[row["fidelity"]]})
        else:
            _print(_whole(row, about))
        return
    if family is not None:
        families = {row["family"] for row in rows}
        if family not in families:
            raise UnknownName("family", family, families)
        rows = [row for row in rows if row["family"] == family]
    if as_json:
        print_json(rows)
        return
    for group in dict.fromkeys(row["family"] for row in rows):
        here = [row for row in rows if row["family"] == group]
        out_console.print(f"\n[bold]{group}[/] ({len(here)}, kind: {here[0]['kind']})", highlight=False)
        width = max(len(_called(row)) for row in here)
        for row in here:
            out_console.print(
                f"  [bold]{escape(_called(row).ljust(width))}[/]  {escape(row['summary'])}",
                highlight=False, soft_wrap=True,
            )  # fmt: skip
    _print(["", "`satisfice methods ID` shows one: its fields, its source, what it needs and what it differs in."])


def _one(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    known = {called: row for row in rows for called in (row["id"], *row["aliases"])}
    if name not in known:
        raise UnknownName("method", name, known)
    return known[name]


def _called(row: Mapping[str, Any]) -> str:
    return " or ".join([row["id"], *row["aliases"]])


def _whole(row: Mapping[str, Any], about: str) -> Iterator[str]:
    """Yield the lines that say everything about one method."""
    yield f"{_called(row)}  ({row['kind']}, family {row['family']})"
    yield ""
    yield about
    yield ""
    yield "fields:" if row["fields"] else "fields: none"
    width = max((len(field["name"]) for field in row["fields"]), default=0)
    for field in row["fields"]:
        whose = ", our default: the source gives none" if field["ours"] else ""
        yield f"  {field['name'].ljust(width)}  {field['default']}: {field['takes']}{whose}"
    yield f"needs: {', '.join(row['needs']) or 'nothing special'}"
    source = " ".join(part for part in (row["paper"], row["where"]) if part)
    yield f"source: {source or 'standard practice'}"
    if row["paper"].startswith("arXiv:"):
        yield f"        https://arxiv.org/abs/{row['paper'].removeprefix('arXiv:')}"
    for model, preset in row.get("presets", {}).items():
        yield f"preset {row['id']}@{model}: {preset['spec']}, fixed by the study {preset['study']}"
    yield f"evidence: {row['fidelity']}: {EVIDENCE[row['fidelity']]}"


def _print(lines: Any) -> None:
    for line in lines:
        out_console.print(line, highlight=False, markup=False, soft_wrap=True)
