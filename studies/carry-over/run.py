"""What the studies on the pocket reasoner said, beside what those on SmolLM2 say: one table for each pair of studies.

    python studies/carry-over/run.py

Reads the `results.json` that lie in the other studies' folders and writes the tables into this one's page; a study that
has not been run on SmolLM2 is left out.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.kept import ALL, put_tables, span
from library.stages import command, do_stages

HERE = Path(__file__).parent
Row = Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> None:
    """Make the tables of what is there."""
    do_stages(command(__doc__, HERE), {"show": do_show}, argv)


def do_show(args: argparse.Namespace) -> None:
    """Print the tables and put them into the page."""
    text = "\n\n".join(text for part in TABLES for text in part())
    put_tables(args.results / "README.md", text)
    print(text)


def rows_of(study: str, name: str = "rows") -> list[dict[str, Any]]:
    """The rows of a study, none if it has no results."""
    file = HERE.parent / study / "results.json"
    found = json.loads(file.read_text("utf-8")).get(name, []) if file.exists() else []
    return [{**row, "task": row["task"].partition("@")[0]} if "task" in row else row for row in found]


def stopping() -> list[str]:
    """Savings and losses of stop rules, those of the same setting side by side."""
    ours = {row["policy"]: row for row in rows_of("stopping-smollm2") if row["task"] == ALL}
    pocket = {(row["task"], row["policy"]): row for row in rows_of("stopping-pocket")}
    tiers = ("chain-sum:easy", "chain-sum:hard")
    both = [policy for policy in ours if policy != "full" and all((tier, policy) in pocket for tier in tiers)]
    return side_by_side(
        "Stop rules: saving, and accuracy difference in points", ["pocket, easy sums", "pocket, hard sums"],
        {f"`{policy}`": [*(told(pocket[tier, policy]) for tier in tiers), told(ours[policy])] for policy in both},
    )  # fmt: skip


def shaping() -> list[str]:
    """What training saves and loses, thinking to the end."""
    names = {"easy": "chain-sum:easy", "hard": "chain-sum:hard"}
    pocket = {
        (row["method"], row["task"]): row for row in rows_of("shaping-pocket", "confirmed") if row["policy"] == "full"
    }
    lines: dict[str, list[str]] = {}
    for row in rows_of("shaping-smollm2"):
        method, _, rule = row["policy"].rpartition(": ")
        there = [pocket.get((method, task)) for task in names.values()]
        if row["task"] == ALL and rule == "full" and all(there):
            lines[f"`{method}`"] = [*(told(one) for one in there if one), told(row)]
    return side_by_side(
        "Training: saving, and accuracy difference in points", ["pocket, easy sums", "pocket, hard sums"], lines
    )


def parallel() -> list[str]:
    """What several chains gain over one, and what they spend."""

    def seen(row: Row, one: Row) -> str:
        return f"{span(row, 'delta_accuracy', '+')} for {row['spent'] / one['spent']:.1f} times the tokens"

    tiers = ("chain-sum:hard", "products:hard")
    pocket = {(row["task"], row["policy"]): row for row in rows_of("parallel-pocket") if row["how"] == "replayed"}
    ours = {row["policy"]: row for row in rows_of("parallel-smollm2") if (row["task"], row["how"]) == (ALL, "replayed")}
    both = [policy for policy in ours if policy != "full" and all((tier, policy) in pocket for tier in tiers)]
    return side_by_side(
        "Several chains: accuracy difference to one chain in points", [f"pocket, {tier}" for tier in tiers],
        {
            f"`{policy}`": [
                *(seen(pocket[tier, policy], pocket[tier, "full"]) for tier in tiers), seen(ours[policy], ours["full"])
            ]
            for policy in both
        },
    )  # fmt: skip


TABLES: Sequence[Callable[[], list[str]]] = (stopping, shaping, parallel)


def told(row: Row) -> str:
    """Saving and accuracy difference of a row."""
    return f"{span(row, 'saving')}; {span(row, 'delta_accuracy', '+')}"


def side_by_side(title: str, pocket: Sequence[str], lines: Mapping[str, Sequence[str]]) -> list[str]:
    """A table, if it has lines."""
    if not lines:
        return []
    head = ["", *pocket, "SmolLM2, all families"]
    return ["\n".join([
        f"**{title}** (95 % intervals)", "", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head),
        *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in lines.items()),
    ])]  # fmt: skip


if __name__ == "__main__":
    main()
