"""What the studies' commands share: stages by name, and tables that come from the results that lie beside the page.

Every study has `--stage show`, which prints the tables of its page, and puts them there, from committed data alone.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from library.kept import put_tables

Stage = Callable[[argparse.Namespace], None]


def command(about: str | None, results: Path) -> argparse.ArgumentParser:
    """Return the parser of a study's command; `results` is where its page, results and figure are."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=results, help="where page, results.json and figure are")
    return parser


def do_stages(
    parser: argparse.ArgumentParser,
    stages: Mapping[str, Stage],
    argv: Sequence[str] | None = None,
    *,
    prepare: Stage = lambda args: None,
) -> None:
    """Do the stages that were asked for, all without a word, in the order in which they were named."""
    names = ", ".join(stages)
    parser.add_argument("--stage", default=",".join(stages), help=f"some of: {names}")
    args = parser.parse_args(argv)
    asked = args.stage.split(",")
    if strange := [stage for stage in asked if stage not in stages]:
        parser.error(f"no stage {strange[0]!r}; there are {names}")
    prepare(args)
    for stage in asked:
        begin = time.monotonic()
        stages[stage](args)
        if stage != "show":
            print(f"{stage}: {time.monotonic() - begin:.0f} s", flush=True)


def showing(tables: Callable[[Any], str]) -> Stage:
    """Return the stage `show`: tables from results.json, printed and put into the page."""

    def show(args: argparse.Namespace) -> None:
        text = tables(json.loads((args.results / "results.json").read_text("utf-8")))
        put_tables(args.results / "README.md", text)
        print(text)

    return show


def write_results(args: argparse.Namespace, results: Mapping[str, Any]) -> None:
    """Write results.json."""
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / "results.json").write_text(json.dumps(results, indent=1, default=str) + "\n", "utf-8")


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table.

    >>> print(table(["a", "b"], [[1, "x"]]))
    | a | b |
    | --- | --- |
    | 1 | x |
    """
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
