"""What the report says in words, all of it made from the result rows."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from satisfice.core.errors import BadInput
from satisfice.measure.subject import Subject, names_of, subject_of, subjects_in
from satisfice.report.samples import Outcome, Row, is_baseline

K = TypeVar("K")

ENOUGH_POCKET = 2000
ENOUGH = 1500
"""Problems per task that a claim takes: of the bundled pocket model, and of language models."""
MANY = 100_000


def percent(value: float | None) -> str:
    """Return a fraction as text.

    >>> percent(0.4849), percent(None)
    ('48.5 %', '–')
    """
    return "–" if value is None else f"{value * 100:.1f} %".replace("-", "−")


def points(value: float | None) -> str:
    """Return a difference of fractions in percentage points, with its sign.

    >>> points(-0.0123)
    '−1.2'
    """
    if value is None:
        return "–"
    shown = f"{value * 100:+.1f}"
    return ("0.0" if shown in ("+0.0", "-0.0") else shown).replace("-", "−")


def label(policy: str) -> str:
    """A short name for charts: a cap by its number of tokens, everything else as it is written on the command line.

    >>> label("fixed-budget(tokens=48)"), label("fixed-budget"), label("deer(threshold=0.9)")
    ('cap:48', 'cap:96', 'deer(threshold=0.9)')
    """
    if policy.partition("(")[0] != "fixed-budget":
        return policy
    from satisfice.catalog import build

    return f"cap:{getattr(build(policy), 'tokens', '?')}"


def name_policies(policies: Sequence[str], typed: Mapping[str, str]) -> dict[str, str]:
    """Return for each policy how it was typed, where that is known, or else `label` of it.

    >>> name_policies(["fixed-budget", "deer(threshold=0.9)"], {"fixed-budget": "cap:96"})
    {'fixed-budget': 'cap:96', 'deer(threshold=0.9)': 'deer(threshold=0.9)'}
    """
    return {policy: typed.get(policy) or label(policy) for policy in policies}


def shorten(labels: Mapping[K, str], width: int = 24) -> dict[K, str]:
    """Return names of at most `width` characters for charts, all different.

    A long name keeps its id and those of its fields in which it differs from others with that id.

    >>> list(shorten({"a": "deer", "b": "deer(threshold=0.97, reuse_answer=true)",
    ...               "c": "deer(threshold=0.9, reuse_answer=true)"}).values())
    ['deer', 'deer(threshold=0.97)', 'deer(threshold=0.9)']
    >>> shorten({"a": "deer(threshold=0.97, reuse_answer=true)"})
    {'a': 'deer(threshold=0.97, …)'}
    """
    parts = {policy: _fields(text) for policy, text in labels.items()}
    found: dict[K, str] = {}
    for policy, text in labels.items():
        name, fields = parts[policy]
        if len(text) > width and fields:
            others = [theirs for other, (one, theirs) in parts.items() if one == name and other != policy and theirs]
            own = [field for field in fields if not all(field in theirs for theirs in others)] if others else fields
            text = _fitting(name, own, width)
        found[policy] = _unused(text, width, set(found.values()))
    return found


def _fields(text: str) -> tuple[str, list[str]]:
    """Split a policy into its id and its fields."""
    from satisfice.core.spec import split

    name, _, rest = text.partition("(")
    try:
        return name, [field.strip() for field in split(rest.rstrip().removesuffix(")"))]
    except BadInput:  # no fields, or not as we write them
        return text, []


def _fitting(name: str, fields: Sequence[str], width: int) -> str:
    """Return a policy with as many of its fields as fit, at least one."""
    for many in range(len(fields), 0, -1):
        text = f"{name}({', '.join([*fields[:many], *(['…'] if many < len(fields) else [])])})"
        if len(text) <= width:
            break
    return text if fields else name


def _unused(text: str, width: int, used: set[str]) -> str:
    short, number = text if len(text) <= width else text[: width - 1] + "…", 2
    while short in used:
        short, number = f"{text[: width - 4]}… {number}", number + 1
    return short


def split_task(task: str) -> tuple[str, str]:
    """Family and tier of a task; a task without tiers is its own family.

    >>> split_task("chain-sum:hard@1"), split_task("mine.jsonl")
    (('chain-sum', 'hard'), ('mine.jsonl', 'all'))
    """
    found = re.fullmatch(r"(.+):(\w+)(?:@\w+)?", task)
    return (found[1], found[2]) if found else (task, "all")


def describe_run(results: Mapping[str, Any], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what was measured, on what, when, and whether it is finished."""
    config, environment = results["config"], results.get("environment", {})
    problems = {task: len({one.problem for one in outcomes if one.task == task}) for task in config.get("tasks", [])}
    per_task = sorted({n for n in problems.values() if n} or {0})
    seeds = len(config.get("seeds", [])) or len({one.seed for one in outcomes})
    asked = config.get("problems", {})
    parts = _parts(config.get("shard"))
    subjects = subjects_in(config)
    size = sum(len(range(part, about["n"], of)) for about in asked.values() for part, of in parts)
    size *= len(subjects) * seeds
    if config.get("until_decided"):
        size = len(outcomes)  # comparisons end by themselves; how many samples that takes nobody knows
    cores = environment.get("cores")
    machine = [environment.get("device", ""), environment.get("platform", ""), f"{cores} cores" if cores else ""]
    return {
        "models": config["models"],
        "model": config["models"][0],
        "tasks": list(problems),
        "n": " to ".join(str(n) for n in ([per_task[0], per_task[-1]] if len(per_task) > 1 else per_task)),
        "policies": len(config.get("policies", [])),
        "samplers": len(config.get("samplers", [])),
        "shard": config.get("shard"),
        "seeds": seeds,
        "answers": len(outcomes),
        "size": size,
        "machine": ", ".join(str(part) for part in machine if part),
        "date": str(environment.get("date", ""))[:10],
    }


def labels_of(subjects: Sequence[Subject], typed: Mapping[str, str] | None = None) -> dict[Subject, str]:
    """Return a name for each subject: its policy as it was typed, and its model and sampler where there are several.

    >>> [*labels_of([Subject("a", "full"), Subject("b", "fixed-budget(tokens=48)")]).values()]
    ['a: full', 'b: cap:48']
    """
    shown = name_policies([subject.policy for subject in subjects], typed or {})
    return names_of(subjects, shown)


def _parts(shard: str | None) -> list[tuple[int, int]]:
    """Return which parts of a divided run there are: `3/16`, or `1, 3/16` of several folders together."""
    which, _, of = (shard or "1/1").partition("/")
    return [(int(part) - 1, int(of)) for part in which.split(",")]


def headlines(rows: Sequence[Row], labels: Mapping[Subject, str]) -> list[dict[str, Any]]:
    """For each task what may be claimed, and by whom; nothing is claimed without the verdict `saves`."""
    found = []
    for task in dict.fromkeys(row["task"] for row in rows):
        here = [row for row in rows if row["task"] == task]
        full = next((row for row in here if row["is_baseline"]), None)
        saving = sorted((row for row in here if row["verdict"] == "saves"), key=lambda row: -row["saving"])
        found.append(
            {
                "task": task,
                "full": full
                and full["spent"] is not None
                and {
                    "accuracy": percent(full["accuracy"]),
                    "spent": f"{full['spent']:.0f}",
                    "label": labels[subject_of(full)],
                },
                "saves": [_claim(row, labels) for row in saving],
                "failed": [
                    {
                        "label": labels[subject_of(row)],
                        "errors": row["errors"],
                        "samples": row["samples"],
                        "cause": row["first_error"],
                    }
                    for row in here
                    if row["errors"]
                ],
                "worse": [labels[subject_of(row)] for row in here if row["verdict"] == "worse"],
                "open": [_undecided(row, full, labels) for row in here if row["verdict"] == "no claim"],
                "idle": [labels[subject_of(row)] for row in here if row["verdict"] == "no saving"],
            }
        )
    return found


def settling(row: Row) -> int | None:
    """Return about how many problems would decide about a policy, if its figures stayed; None where none would.

    An interval narrows with the root of the number. It settles when it lies above -margin, or below zero.

    >>> row = {"delta_accuracy": -0.01, "delta_accuracy_low": -0.03, "delta_accuracy_high": 0.01, "margin": 0.02}
    >>> settling({**row, "n": 200}), settling({**row, "n": 200, "delta_accuracy": 0.0, "delta_accuracy_low": -0.02})
    (800, 200)
    """
    n = row.get("paired") or row["n"]
    change, low, high = (row[f"delta_accuracy{end}"] for end in ("", "_low", "_high"))
    if None in (change, low, high):
        return None
    ways = []  # how many times too wide the interval is, on either side
    if change > -row["margin"]:
        ways.append((change - low) / (change + row["margin"]))
    if change < 0:
        ways.append((high - change) / -change)
    if not ways:
        return None
    wide: float = min(max(1.0, min(ways)), MANY)
    needed = min(n * wide * wide, 10.0 * MANY)
    step = int(10 ** max(0, math.floor(math.log10(needed)) - 1))
    return int(math.ceil(round(needed / step, 6)) * step)


def _undecided(row: Row, full: Row | None, labels: Mapping[Subject, str]) -> dict[str, str]:
    """Return the figures of a policy about which nothing can be said yet, and what would settle it."""
    n, needed = row.get("paired") or row["n"], settling(row)
    if full is not None and full["accuracy"] == 0:
        outlook = "full is never right here, so there is nothing to lose and nothing to conclude"
    elif needed is None:
        outlook = "there are too few pairs to say how many would settle it"
    elif needed > MANY:
        outlook = f"more than {MANY:,} problems would be needed to settle it"
    elif needed <= n:
        outlook = "a few more problems would settle it"
    else:
        outlook = f"about {needed:,} problems would settle it"
    return _claim(row, labels) | {"outlook": outlook}


def _claim(row: Row, labels: Mapping[Subject, str]) -> dict[str, str]:
    return {
        "label": labels[subject_of(row)],
        "baseline": "a plain baseline" if is_baseline(row["policy"]) else "",
        "saving": percent(row["saving"]),
        "saving_low": percent(row["saving_low"]),
        "saving_high": percent(row["saving_high"]),
        "delta": points(row["delta_accuracy"]),
        "delta_low": points(row["delta_accuracy_low"]),
        "delta_high": points(row["delta_accuracy_high"]),
    }


def short_of_claim(results: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return how far this run is from the problems per task that a claim takes, or None when it has them."""
    enough = ENOUGH_POCKET if results["config"]["models"] == ["pocket"] else ENOUGH
    sizes = [row["paired"] if row["pairs"] else row["judged"] for row in rows if not row["errors"]]
    fewest = min(sizes, default=0)
    if not sizes or fewest >= enough:
        return None
    widths = [
        (row["delta_accuracy_high"] - row["delta_accuracy_low"]) / 2
        for row in rows
        if not row["is_baseline"] and row["delta_accuracy_low"] is not None
    ]
    return {"n": fewest, "enough": enough, "width": f"{max(widths) * 100:.1f}" if widths else ""}


def facts(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Config and environment as pairs of a name and a text."""
    found = []
    for block in ("config", "environment"):
        for name, value in results.get(block, {}).items():
            if value not in (None, "", [], {}) and name != "typed":
                found.append((name.replace("_", " "), _text(value)))
    return found


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_text(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(inner) for inner in value)
    return str(value)
