"""The first rules on the pocket reasoner: caps, the first cue and DEER at the paper's threshold and at one of ours.

    python studies/first-rules/run.py

It is one `satisfice bench`; `--stage show` makes the table of the page from its results.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.stages import command, do_stages, showing, table

HERE = Path(__file__).parent
POLICIES = "full,cap:32,cap:64,cap:128,cap:192,cap:256,first-cue,deer,deer(threshold=0.97,reuse_answer=true)"


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for."""
    parser = command(__doc__, HERE)
    parser.add_argument("--limit", type=int, default=2000, help="problems a tier")
    parser.add_argument("--out", type=Path, default=Path("runs/first-rules"))
    do_stages(parser, {"bench": do_bench, "show": showing(tables)}, argv)


def do_bench(args: argparse.Namespace) -> None:
    """Run the rules, and take results and figure from the run."""
    subprocess.run(
        [sys.executable, "-m", "satisfice.cli", "bench", "--model", "pocket", "--tasks",
         "chain-sum:easy,chain-sum:hard", "--policies", POLICIES, "--limit", str(args.limit), "--out", str(args.out)],
        check=True,
    )  # fmt: skip
    for name in ("results.json", "frontier.png"):
        shutil.copy(args.out / name, args.results / name)


def tables(results: Mapping[str, Any]) -> str:
    """Every rule on both tiers."""
    lines = []
    for row in results["rows"]:
        first = [row["task"], row["policy"], row["n"], f"{100 * row['accuracy']:.1f}", f"{row['kept']:.0f}"]
        baseline = row["policy"] == "full"
        spans = ["", ""] if baseline else [_span(row, "saving", unit=" %"), _span(row, "delta_accuracy", sign="+")]
        gains = [] if baseline else [_span(row, f"gain_over_{name}", sign="+") for name in ("cap", "first_cue")]
        lines.append([*first, f"{row['spent']:.0f}", *spans, row["verdict"], *(gains or ["", ""])])
    heads = (
        "task", "policy", "n", "accuracy", "kept", "spent", "saving (95 %)", "accuracy difference, points (95 %)",
        "verdict", "over caps, equal spending", "over first-cue, equal spending",
    )  # fmt: skip
    return table(heads, lines)


def _span(row: Mapping[str, Any], name: str, *, sign: str = "", unit: str = "") -> str:
    if row[name] is None:
        return ""
    middle, low, high = (f"{100 * row[name + end]:{sign}.1f}" for end in ("", "_low", "_high"))
    return f"{middle}{unit} ({low} to {high})"


if __name__ == "__main__":
    main()
