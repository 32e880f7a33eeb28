"""The numbers of whole runs in one small file: what their tables are made from, without a model and without the runs.

A run of 1,500 problems under some thirty rules takes hundreds of megabytes with its texts and a third of one so.
"""

import json
import lzma
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from satisfice.core.files import replace_file
from satisfice.measure.samples import NUMBERS, key_of
from satisfice.measure.statistics import MARGIN, result_rows
from satisfice.measure.store import read_results, read_samples
from satisfice.measure.subject import subject_of, subjects_in

Sample = dict[str, Any]
ALL = "all"
"""The task of rows that speak of all tasks together."""

_MARKS = ("<!-- tables:begin -->", "<!-- tables:end -->")


def numbers(folder: Path, more: Sequence[str] = ()) -> list[Sample]:
    """Return the samples of a run without their texts, in the order of its plan; of one that was done again the newest.

    Times are left out, since they differ from run to run. `more` names further fields of `samples.jsonl`.

    Raises:
        BadInput: there is no run in `folder`.
    """
    config = read_results(folder)["config"]
    subjects, tasks = subjects_in(config), config["tasks"]
    newest = {key_of(row): row for row in read_samples(folder)}
    order = sorted(newest, key=lambda key: (subjects.index(key[0]), tasks.index(key[1]), *key[2:]))
    return [{name: newest[key][name] for name in (*NUMBERS, *more)} | {"wall_s": None} for key in order]


def keep(file: Path, runs: Mapping[str, Path], more: Sequence[str] = ()) -> None:
    """Write the numbers of runs, each under a name, into one file (JSON lines, xz): the same runs, the same bytes.

    Raises:
        BadInput: one of the folders holds no run.
    """
    lines = [json.dumps({"run": name, **row}) for name, folder in runs.items() for row in numbers(folder, more)]
    replace_file(file, lzma.compress("".join(f"{line}\n" for line in lines).encode(), preset=9))


def kept(file: Path) -> dict[str, list[Sample]]:
    """Return the samples of each run in a file that `keep` wrote, in their order; none where there is no file."""
    found: dict[str, list[Sample]] = {}
    if file.exists():
        for line in lzma.decompress(file.read_bytes()).decode().splitlines():
            row = json.loads(line)
            found.setdefault(row.pop("run"), []).append(row)
    return found


def rows_of(samples: Sequence[Sample], *, margin: float = MARGIN) -> list[dict[str, Any]]:
    """A row for each subject on each task, as in `results.json`, and before them, of several tasks, one over `ALL`."""
    subjects, tasks = list(dict.fromkeys(map(subject_of, samples))), list(dict.fromkeys(row["task"] for row in samples))
    pooled = [{**row, "task": ALL} for row in samples] if len(tasks) > 1 else []
    return [
        row
        for some, named in ((pooled, [ALL]), (samples, tasks))
        for row in result_rows(some, subjects=subjects, tasks=named, margin=margin)
    ]


def pooled(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows over all tasks; those of the only task where there is one."""
    return [row for row in rows if row["task"] in (ALL, rows[0]["task"])]


def span(row: Mapping[str, Any], name: str, sign: str = "") -> str:
    """Return a fraction in percent, or a difference in points, with its interval where there is one.

    >>> span({"saving": 0.31, "saving_low": 0.285, "saving_high": 0.33}, "saving")
    '31.0 (28.5 to 33.0)'
    """
    ends = ("",) if row[f"{name}_low"] is None else ("", "_low", "_high")
    middle, *interval = (f"{100 * row[name + end]:{sign}.1f}" for end in ends)
    return f"{middle} ({' to '.join(interval)})" if interval else middle


def put_tables(page: Path, tables: str) -> None:
    """Put text between the marks of a Markdown page, in place of what was there; marks are added where none are."""
    before, _, rest = (page.read_text("utf-8") if page.exists() else "").partition(_MARKS[0])
    page.write_text(f"{before}{_MARKS[0]}\n{tables}\n{_MARKS[1]}{rest.partition(_MARKS[1])[2] or chr(10)}", "utf-8")
