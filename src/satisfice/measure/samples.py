"""The rows of `samples.jsonl`: what one holds, and how rows of older releases and of other hands are read."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from satisfice.core.problem import Problem
from satisfice.measure.subject import BASELINE, Subject, subject_of

SCHEMA_VERSION = 2
"""Of `samples.jsonl` and `results.json`. 2 (2026-11): a sample says its `model` and `sampler`; one that failed has
the verdict `error` and says the error's type in `error_type`; `question_digest` tells questions apart. A config has
`models`, `samplers`, `baseline` and `weights` by model in place of `model` and `sampler`. Version 1 is read as
`upgraded` and `upgraded_config` say."""

NUMBERS = (
    "model", "policy", "sampler", "task", "problem", "seed", "question_digest", "verdict", "verdict_flexible", "answer",
    "truncated", "error", "kept", "probe", "dropped", "spent", "injected", "prefilled", "steps", "flops", "wall_s",
    "thinking_tokens",
)  # fmt: skip
"""The fields of a sample that its row in the results is made from: the only ones kept in memory."""

SampleKey = tuple[Subject, str, str, int]
"""Subject, task, problem and seed: what one sample is of."""


def key_of(row: Mapping[str, Any]) -> SampleKey:
    """Return what a sample is filed under."""
    return subject_of(row), row["task"], row["problem"], row["seed"]


def numbers_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sample without its texts."""
    return {name: row[name] for name in NUMBERS}


def question_digest(question: str) -> str:
    """Return a mark of a question; runs of white space count as one blank.

    >>> question_digest("1 + 1?") == question_digest(" 1  + 1?\\n")
    True
    """
    return hashlib.sha256(" ".join(question.split()).encode()).hexdigest()[:16]


def ids_by_question(problems: Iterable[Problem]) -> dict[str, str]:
    """Return for the digest of each question the id of the first problem that asks it, in whatever task."""
    found: dict[str, str] = {}
    for problem in problems:
        found.setdefault(question_digest(problem.question), problem.id)
    return found


def different(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems whose question no earlier one of the same task asks: what counts copies counts too much."""
    found: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        found.setdefault((problem.task, question_digest(problem.question)), problem)
    return tuple(found.values())


def upgraded_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's config in the form of this release. Version 1 knew one model and one sampler."""
    new = {"limit": None, "temperature": None, "max_tokens": None, "shard": None, **config}
    if "models" not in new and isinstance(new.get("model"), str):
        model, sampler = new.pop("model"), new.pop("sampler", "")
        baseline = Subject(model, BASELINE, sampler).as_row()
        new |= {"models": [model], "weights": {model: new.get("weights")}, "samplers": [sampler], "baseline": baseline}
    return new


def upgraded(row: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in the form of this release; nothing that version 1 says is lost. `config` is that of its run."""
    new = {"model": config["models"][0], "sampler": config["samplers"][0], "flops": None, **row}
    if new.get("schema_version") == SCHEMA_VERSION:
        return new
    error = str(new.get("error") or "")
    if error:
        new |= {"verdict": "error", "verdict_flexible": "error"}
    new.setdefault("error_type", error.partition(":")[0])
    new.setdefault("question_digest", question_digest(str(new["question"])))
    return new | {"schema_version": SCHEMA_VERSION}


def fault(row: Mapping[str, Any]) -> str:
    """Return what is wrong with a row, in words; "" when nothing is.

    >>> fault({"model": "pocket", "policy": "full", "sampler": ""})
    "the field 'task' is missing"
    """
    for name, (what, holds) in _FIELDS.items():
        if name not in row:
            return f"the field {name!r} is missing"
        if not holds(row[name]):
            return f"{name!r} is {str(row[name])[:40]!r}, which is not {what}"
    if row["spent"] != row["kept"] + row["probe"] + row["dropped"]:
        return f"'spent' is {row['spent']}, and kept + probe + dropped is {row['kept'] + row['probe'] + row['dropped']}"
    if (row["verdict"] == "error") != bool(row["error"]):
        return f"'verdict' is {row['verdict']!r}, and 'error' is {row['error'][:40]!r}"
    return ""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value < 2**53


_VERDICTS = ("right", "wrong", "unknown", "error")
_TEXT = ("a text", lambda value: isinstance(value, str))
_TEXT_OR_NULL = ("a text or null", lambda value: value is None or isinstance(value, str))
_COUNT = ("a whole number from 0", _is_count)
_VERDICT = (f"one of {', '.join(_VERDICTS)}", lambda value: isinstance(value, str) and value in _VERDICTS)
_ROWS = ("a list of objects", lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value))
_SECONDS = (
    "seconds or null",
    lambda value: (
        value is None
        or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0)
    ),
)

_FIELDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("model", "policy", "sampler", "task", "problem"), _TEXT),
    "seed": _COUNT,
    **dict.fromkeys(("question", "question_digest", "gold", "text", "stop_reason", "error", "error_type"), _TEXT),
    **dict.fromkeys(("answer", "answer_flexible"), _TEXT_OR_NULL),
    **dict.fromkeys(("verdict", "verdict_flexible"), _VERDICT),
    "truncated": ("true or false", lambda value: isinstance(value, bool)),
    **dict.fromkeys(("kept", "probe", "dropped", "spent", "injected", "prefilled", "steps", "thinking_tokens"), _COUNT),
    "flops": ("a whole number from 0, or null", lambda value: value is None or _is_whole(value)),
    "wall_s": _SECONDS,
    "chain": _TEXT,
    "first_right": ("a whole number from 0, or null", lambda value: value is None or _is_count(value)),
    **dict.fromkeys(("spans", "log"), _ROWS),
}
