"""The report of a run: one HTML file for people who do not know the project, and a picture of the frontier."""

import base64
import hashlib
import importlib.resources
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from satisfice.core.errors import CannotWrite, MissingExtra
from satisfice.core.files import replace_file
from satisfice.measure.statistics import LEAST_PROBLEMS, LEAST_SAVING
from satisfice.measure.subject import Subject, baseline_of, subject_of, subjects_in
from satisfice.report.reader import PROBLEMS_PER_TASK, choose, pack
from satisfice.report.remaining import remaining_words
from satisfice.report.samples import (
    FULL,
    Outcome,
    ProblemKey,
    Row,
    Stops,
    compare_stops,
    is_baseline,
    is_cap,
    read_outcome,
)
from satisfice.report.words import (
    describe_run,
    facts,
    headlines,
    labels_of,
    name_policies,
    percent,
    points,
    short_of_claim,
    shorten,
    split_task,
)


def draw(path: Path, results: dict[str, Any], samples: Iterable[Mapping[str, Any]]) -> None:
    """Draw `report.html` and `frontier.png`; `CannotWrite` when there is no room for them."""
    try:
        write_report(path, results, samples)
    except OSError as error:
        raise CannotWrite(
            f"{path}: the report cannot be written: {error.strerror}. The samples are safe there. "
            "Make room and give the same command again: it goes on from here."
        ) from error


def write_report(run_dir: Path, results: Mapping[str, Any], samples: Iterable[Mapping[str, Any]]) -> None:
    """Write `report.html` and `frontier.png` into the folder of a run, replacing older ones whole.

    `results` and `samples` are what `results.json` and `samples.jsonl` hold; the samples are read once. The page loads
    nothing from anywhere: its content security policy forbids it, and forbids every script but its own.

    Raises:
        MissingExtra: altair, jinja2 or vl-convert is not installed. Nothing is written then.
        OSError: the files cannot be written.
    """
    try:
        from satisfice.report import charts
    except ModuleNotFoundError as error:
        if error.name in {"altair", "jinja2", "vl_convert"}:
            raise MissingExtra("the report", "report") from error
        raise
    outcomes: list[Outcome] = []
    texts: dict[tuple[Subject, ProblemKey], bytes] = {}  # packed: a run has many chains, and the reader shows few
    for sample in samples:
        outcome = read_outcome(sample)
        outcomes.append(outcome)
        texts[outcome.subject, outcome.key] = zlib.compress(json.dumps(sample).encode(), 1)
    rows: Sequence[Row] = results["rows"]
    tasks = list(dict.fromkeys([*results["config"]["tasks"], *(row["task"] for row in rows)]))
    subjects = subjects_in(results["config"])
    typed = name_policies(results["config"]["policies"], results.get("environment", {}).get("typed", {}))
    labels = labels_of(subjects, typed)
    marks = charts.Marks(subjects)
    short = shorten(labels, 40 if marks.groups else 24)
    names = shorten(typed)
    drawn = {subject: names[subject.policy] for subject in subjects}  # colours tell models apart
    specs: dict[str, Any] = {}
    frontiers: dict[str, Any] = {}
    parts = []
    for i, task in enumerate(tasks):
        here = [row for row in rows if row["task"] == task]
        if not here:
            continue
        frontiers[task] = charts.frontier(here, drawn, marks, width=430)
        axes = charts.axes_of(here)
        specs |= {f"frontier-{i}-{axis}": charts.frontier(here, drawn, marks, axis=axis) for axis in axes}
        # Where a cap stops needs no chart.
        found = compare_stops(outcomes, task, [one for one in subjects if not is_cap(one.policy)])
        if found:
            specs[f"stops-{i}"] = charts.stops(found, short, marks)
        told = [(subject_of(row), _cells(row, labels, typed)) for row in here]
        parts.append(
            {
                "i": i,
                "task": task,
                "n": _counts(here),
                "groups": _groups(told),
                "axes": axes,
                "more": _folded([cells for _, cells in told]),
                "stops": _stops(found, labels),
                "remaining": remaining_words(outcomes, task, baseline_of(subjects)),
            }
        )
    families = _families(rows, tasks)
    for i, (_, tiers, tiered) in enumerate(families):
        specs[f"savings-{i}"] = charts.savings(tiered, short, tiers)
    wanted = {task: choose(outcomes, task, subjects, PROBLEMS_PER_TASK) for task in tasks}
    keys = {key for chosen in wanted.values() for key in chosen}
    shown = (json.loads(zlib.decompress(text)) for key, text in texts.items() if key[1] in keys)
    # The first thing seen is a rule that looks, beside `full`.
    looking = [subject_of(row) for row in rows if row["probe"]]
    first = next(iter(looking + [one for one in subjects if not is_baseline(one.policy)] + subjects))
    reader = pack(shown, wanted, labels) | {"first": labels[first]}
    html = _render(
        run=describe_run(results, outcomes), headlines=headlines(rows, labels),
        short=short_of_claim(results, rows), facts=facts(results), margin=results["config"].get("margin", 0.02),
        groups=marks.groups, least_saving=LEAST_SAVING, least_problems=LEAST_PROBLEMS, parts=parts,
        axes={axis: charts.AXES[axis] for part in parts for axis in part["axes"]},
        families=[family for family, _, _ in families], reader_size=_sizes(reader),
        charts={name: chart.to_dict() for name, chart in specs.items()}, reader=reader, runtime=charts.runtime(),
    )  # fmt: skip
    replace_file(run_dir / "report.html", html.encode("utf-8", "replace"))
    if frontiers:
        replace_file(run_dir / "frontier.png", charts.as_png(frontiers))


def _render(*, charts: Mapping[str, Any], reader: Mapping[str, Any], runtime: str, **view: Any) -> str:
    import jinja2
    from markupsafe import Markup

    files = importlib.resources.files("satisfice.report") / "templates"
    script = (files / "report.js").read_text("utf-8")
    runtime = _breathe(runtime)
    jinja = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = jinja.from_string((files / "report.html.jinja").read_text("utf-8"))
    return template.render(
        **view,
        style=Markup((files / "report.css").read_text("utf-8")),
        charts=Markup(embed_json(charts)), reader=Markup(embed_json(reader)),
        runtime=Markup(runtime), script=Markup(script),
        hashes=" ".join(_hash(text) for text in (runtime, script)),
    )  # fmt: skip


def embed_json(value: Any) -> str:
    """JSON that may stand inside a `<script>` element, whatever text it carries.

    >>> embed_json("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _breathe(script: str) -> str:
    """Make a script safe inside an element: HTML knows three sequences that would end or hide it."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--").replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _groups(rows: Sequence[tuple[Subject, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of a table by model and sampler, each group under a title; without one where there is one group."""
    groups: dict[Subject, list[dict[str, Any]]] = {}
    for subject, cells in rows:
        groups.setdefault(subject.under(FULL), []).append(cells)
    titles = {group: f"{group.model}, {group.sampler}" if group.sampler else group.model for group in groups}
    return [{"title": titles[group] if len(groups) > 1 else "", "rows": cells} for group, cells in groups.items()]


def _cells(row: Row, labels: Mapping[Subject, str], typed: Mapping[str, str]) -> dict[str, Any]:
    """Return a row of the table as text, in the order of its columns."""
    full, subject = row["is_baseline"], subject_of(row)
    return {
        "name": labels[subject], "policy": subject.policy, "label": typed[subject.policy],
        "baseline": is_baseline(subject.policy), "verdict": row["verdict"],
        "cells": [
            (percent(row["accuracy"]), _range(row, "accuracy", percent)),
            *((_tokens(row[name]), "") for name in ("spent", "kept", "probe", "dropped")),
            ("–", "") if full else (percent(row["saving"]), _range(row, "saving", percent)),
            ("–", "") if full else (points(row["delta_accuracy"]), _range(row, "delta_accuracy", points)),
            (points(row["gain_over_cap"]), _range(row, "gain_over_cap", points)),
        ],
        "rest": [
            percent(row["truncated_rate"]), percent(row["no_answer_rate"]), percent(row["unknown_rate"]),
            percent(row["error_rate"]), *(_seconds(row[name]) for name in ("p50_s", "p95_s", "wall_s")),
            str(row["n"]),
        ],
    }  # fmt: skip


def _folded(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a class for each of the last columns: folded away, but for those that show something wrong."""
    wrong = (percent(None), percent(0.0))
    columns = range(len(cells[0]["rest"]))
    return ["" if i < 4 and any(row["rest"][i] not in wrong for row in cells) else "more" for i in columns]


def _tokens(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _counts(rows: Sequence[Row]) -> str:
    """Return how many problems stand behind the rows of a table.

    >>> _counts([{"n": 200}, {"n": 200}]), _counts([{"n": 200}, {"n": 64}])
    ('200', '64 to 200')
    """
    counts = sorted({row["n"] for row in rows})
    many = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    repeated = max(row.get("problems", row["n"]) - row["n"] for row in rows)
    return many if not repeated else f"{many} different (and {repeated} that repeat a question, counted once)"


def _range(row: Row, name: str, form: Any) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if low is None or high is None else f"{form(low)} to {form(high)}"


def _stops(found: Sequence[Stops], labels: Mapping[Subject, str]) -> list[dict[str, str]]:
    return [
        {
            "label": labels[one.subject],
            "pairs": str(one.pairs),
            "median": f"{one.thinking[len(one.thinking) // 2]}",
            "too_soon": percent(one.too_soon) if one.first_right else "–",
            "after": "–" if one.after is None else f"{one.after:.0f}",
            "never": percent(one.never),
        }
        for one in found
    ]


def _families(rows: Sequence[Row], tasks: Sequence[str]) -> list[tuple[str, list[str], list[Row]]]:
    """Tasks that differ only in difficulty: (family, its tiers from easy to hard, its rows with their tier)."""
    families: dict[str, list[str]] = {}
    for task in tasks:
        families.setdefault(split_task(task)[0], []).append(task)
    found: list[tuple[str, list[str], list[Row]]] = []
    for family, members in families.items():
        tiered: list[Row] = [{**row, "tier": split_task(row["task"])[1]} for row in rows if row["task"] in members]
        if any(not row["is_baseline"] and row["saving_low"] is not None for row in tiered):
            tiers = sorted({row["tier"] for row in tiered}, key=_hardness)
            found.append((family, tiers, tiered))
    return found


def _hardness(tier: str) -> tuple[int, str]:
    order = ("easy", "medium", "hard")
    return (order.index(tier) if tier in order else len(order), tier)


def _sizes(reader: Mapping[str, Any]) -> dict[str, int]:
    return {
        "problems": len(reader["problems"]),
        "chains": sum(len(problem["runs"]) for problem in reader["problems"]),
    }
