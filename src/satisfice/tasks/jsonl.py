"""Read problems from a JSONL file that somebody else wrote: every row is checked before anything is computed."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, NoReturn

from satisfice.core.errors import BadInput
from satisfice.core.problem import Problem

MAX_LINE_BYTES = 1_000_000
MAX_DEPTH = 32  # arrays and objects within one another
FIELDS = ("question", "answer", "id")


def read_jsonl(path: str | Path) -> tuple[Problem, ...]:
    """Read the problems of a file with `question`, `answer` and, if you like, `id` in every row.

    Without an `id`, the hash of the question is one. A number is kept as it is written. Other fields are kept in
    `Problem.metadata`, empty lines skipped.

    Raises:
        BadInput: no such file, nothing in it, or a row that is too long or nested too deep, no UTF-8, no JSON object,
            lacks a field, holds something else than text or a number there, or repeats an id. `NaN`, `Infinity` and
            numbers beyond every float are no JSON. The message names the file and the line.
    """
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    try:
        with open(path, "rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                problem = _problem(line, f"{path} line {number}", str(path))
                if problem is None:
                    continue
                if problem.id in lines:
                    raise BadInput(
                        f"{path} line {number}: id {problem.id!r} is also on line {lines[problem.id]} (rows without"
                        " an id get one from their question). Remove one of them or give them different ids."
                    )
                lines[problem.id] = number
                problems.append(problem)
    except OSError as error:
        raise BadInput(f"{path}: the file cannot be read ({error.strerror}). Give the path of a JSONL file.") from error
    if not problems:
        raise BadInput(
            f'{path}: the file has no problems in it. Write one JSON object a line: {{"question": ..., "answer": ...}}.'
        )
    return tuple(problems)


def _problem(line: bytes, where: str, task: str) -> Problem | None:
    if len(line) > MAX_LINE_BYTES:
        raise BadInput(
            f"{where}: the line is longer than {MAX_LINE_BYTES:,} bytes."
            " Shorten the question, or check that it is JSONL."
        )
    try:
        text = line.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadInput(f"{where}: byte {error.start} is not UTF-8. Save the file as UTF-8.") from error
    if not text:
        return None
    try:
        if _depth(text) > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        row = json.loads(text, parse_float=_finite, parse_constant=_no_number)
        written = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: {text[:40]!r} is not JSON ({error}). Write one JSON object a line.") from error
    if not isinstance(row, dict):
        raise BadInput(
            f"{where}: {text[:40]!r} is not a JSON object. Write {{...}} with 'question' and 'answer' in it."
        )
    question, answer = _text(row, written, "question", where), _text(row, written, "answer", where)
    ident = _text(row, written, "id", where) if "id" in row else hashlib.sha256(question.encode()).hexdigest()[:16]
    rest = {name: value for name, value in row.items() if name not in FIELDS}
    return Problem(id=ident, task=task, question=question, answer=answer, metadata=rest)


def _depth(text: str) -> int:
    """Return how deep arrays and objects lie within one another, strings left out."""
    depth = most = 0
    quoted = escaped = False
    for char in text:
        if quoted:
            quoted, escaped = escaped or char != '"', char == "\\" and not escaped
        elif char == '"':
            quoted = True
        elif char in "[{":
            depth += 1
            most = max(most, depth)
        elif char in "]}":
            depth -= 1
    return most


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is beyond every number; write it as text")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON; write it as text")


def _text(row: dict[str, Any], written: dict[str, Any], name: str, where: str) -> str:
    """Return a field of a row as text; `written` is the row with its numbers as they were written."""
    if name not in row:
        raise BadInput(f"{where}: the field {name!r} is missing; the row has {sorted(row)[:8]}. Every row needs it.")
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadInput(f"{where}: {name!r} is {str(value)[:40]!r}, which is no text or number. Write it as text.")
    text = str(written[name])
    if not text.strip():
        raise BadInput(f"{where}: {name!r} is empty. Every row needs a {name}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can escape half a surrogate pair, which is no character
        raise BadInput(
            f"{where}: {name!r} holds a broken character at {error.start}. Save the file as UTF-8."
        ) from error
    return text
