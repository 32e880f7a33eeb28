"""The command `shorten`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from satisfice.cli import complete
from satisfice.cli.common import Config, err_console, out_console, print_json
from satisfice.cli.options import Json, names


def shorten(
    run: Annotated[
        list[Path],
        typer.Argument(help="Folder of a recording; of builders for two models the long one's, then the other's."),
    ],
    out: Annotated[Path, typer.Option(help="New folder for the data and its audit.")],
    how: Annotated[
        str,
        typer.Option(
            help="How rows are made: a builder, id or id(field=value, ...). `satisfice methods` lists them.",
            autocompletion=complete.methods_of("builder"),
        ),
    ] = "first-correct",
    least: Annotated[int, typer.Option(help="Refuse to write fewer rows or pairs than this.", min=1)] = 100,
    against: Annotated[
        str, typer.Option(help="Tasks that models will be compared on, to look for leaks. Default: those recorded.")
    ] = "",
    model: Annotated[
        str | None, typer.Option(help="Where the recorded model's tokenizer is. Default: as it was recorded.")
    ] = None,
    scorer: Annotated[
        str | None, typer.Option(help="Model that says what an answer loses without a step; pir needs one.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make data to train on from recorded chains, shorter than these, and say what it will teach."""
    from satisfice.catalog import build
    from satisfice.core.builder import BUILDER
    from satisfice.training.rows import PAGE
    from satisfice.training.shorten import make_plan
    from satisfice.training.shorten import shorten as shorten_all

    method = build(how, BUILDER, allow_files=True)
    with err_console.status(f"Reading {escape(', '.join(map(str, run)))} ..."):
        plan = make_plan(run, method, out, least=least, evaluated=names(against))
        found = shorten_all(plan, model, scorer)
    if as_json:
        print_json({"out": str(out), **found})
        return
    from satisfice.report.audit import facts

    table = Table(title=found["how"], title_justify="left", show_header=False)
    for name, value in facts({"evaluated": found["evaluated"], "constant": found["constant"]}, found):
        table.add_row(name, value)
    out_console.print(table)
    out_console.print(_effect(found["effect"]))
    for told in found["warnings"]:
        err_console.print(told, style="yellow", highlight=False, markup=False)
    out_console.print(
        f"Written to {out}: rows.jsonl, data.json, audit.json and {PAGE}, which is worth a look. Then: satisfice train "
        f"--data {out}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


def _effect(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="If the model learned it perfectly (an estimate)", title_justify="left")
    for column in ("task", "chains", "tokens now", "tokens then", "saved"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for row in rows:
        spent, learned = f"{row['spent']:.0f}", f"{row['learned']:.0f}"
        table.add_row(row["task"], str(row["chains"]), spent, learned, f"{row['saving']:.1%}")
    return table
