"""The page about training data: what it will teach, what is wrong with it, and what was cut from which chain."""

import importlib.resources
from collections.abc import Mapping, Sequence
from typing import Any

from satisfice.core.errors import MissingExtra
from satisfice.report.words import percent

KINDS = {"kept": "trained on", "masked": "in context, not trained on", "cut": "left out", "written": "put in"}
"""What may stand in a row, as the page's legend says it."""


def audit_page(header: Mapping[str, Any], found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the page as one HTML file that loads nothing and runs no script.

    `header` is what `data.json` holds, `found` what `audit.json` holds, `rows` are those to read.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise MissingExtra("the report", "report") from error
    files = importlib.resources.files("satisfice.report") / "templates"
    jinja = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = jinja.from_string((files / "audit.html.jinja").read_text("utf-8"))
    style = (files / "report.css").read_text("utf-8") + (files / "audit.css").read_text("utf-8")
    most = max(1, *found["cut"]["first_in_tenth"])
    return template.render(
        header=header, found=found, rows=rows, kinds=KINDS, style=Markup(style), facts=facts(header, found),
        bars=[(i, n, round(100 * n / most)) for i, n in enumerate(found["cut"]["first_in_tenth"])], percent=percent,
    )  # fmt: skip


def facts(header: Mapping[str, Any], found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what there is to know of the data, as pairs of a name and a value in words."""
    pairs, length, apart = found.get("pairs"), found["length"], found["differs"]
    middle = "–" if length is None else f"{length['mean']:.0f} tokens ({length['p10']:.0f} to {length['p90']:.0f}"
    cut = found["cut"]
    told = [
        ("recorded", f"{found['chains']:,} chains of {found['problems']:,} problems, {found['right']:,} of them right, "
                     f"{found['cut_off']:,} cut off"),
        (found["makes"], f"{found['n']:,}, of {found['problems_used']:,} problems"),
        ("trained on", f"{percent(found['trained_share'])} of all tokens, prompts included"),
        ("length of a row", f"{middle} for the middle 80 %)"),
        ("cut", f"something in {percent(cut['rows'])} of rows, {percent(cut['tokens'])} of the thinking"),
        ("not right", f"{found['wrong']['n']:,} rows to be learned"),
        ("copies", f"{found['duplicates']:,} {found['makes']}"),
        ("leakage", f"{len(found['leaked']):,} problems of {', '.join(header['evaluated'])} (evaluation split)"),
    ]  # fmt: skip
    if apart is not None:
        told.append(
            ("unlike first-correct", f"{percent(apart['rows'])} of rows, {percent(apart['tokens'])} of their tokens")
        )
    if pairs is not None:
        margin = "not known" if pairs["correlation"] is None else f"{pairs['correlation']:+.2f}"
        told += [
            ("held constant", header["constant"]),
            ("chosen longer than rejected", f"{pairs['chosen_longer']:,} (as long: {pairs['same_length']:,}); "
                                            f"{pairs['gap']:.0f} tokens shorter on average"),
            ("rejected answer right", f"{pairs['rejected_right']:,}"),
            ("length against log-probability", f"correlation of differences {margin}, {pairs['with_margin']:,} pairs"),
        ]  # fmt: skip
    if found["notes"]:
        told.append(("notes", ", ".join(f"{name}: {n:,}" for name, n in found["notes"].items())))
    return told
