"""Rows and pairs in tokens, as trainers take them, and the folder that holds them."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from satisfice.core.builder import Makes, Pair, Row
from satisfice.core.errors import BadInput, CannotWrite
from satisfice.core.files import clean

SCHEMA_VERSION = 1
DATA, ROWS, AUDIT, PAGE = "data.json", "rows.jsonl", "audit.json", "audit.html"
OFF = -100  # label of a token with the loss off

Encode = Callable[[str], Sequence[int]]
Render = Callable[[str], Sequence[int]]
"""From a question to its prompt in tokens, thinking open."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One row in tokens: what a trainer sees."""

    prompt: tuple[int, ...]
    ids: tuple[int, ...]  # behind the prompt
    trained: tuple[bool, ...]  # of each of these

    @property
    def labels(self) -> list[int]:
        """The labels of prompt and row: token ids, and -100 where the loss is off."""
        return [OFF] * len(self.prompt) + [i if on else OFF for i, on in zip(self.ids, self.trained, strict=True)]


def encoded(row: Row, encode: Encode, render: Render | None = None) -> Encoded:
    """Return a row in tokens. Sampled tokens stay as they are; `encode` is asked for text, `render` for questions."""
    ids: list[int] = []
    trained: list[bool] = []
    for part in row.parts:
        some = part.ids if part.ids is not None else encode(part.text)
        ids += some
        trained += [part.trained] * len(some)
    prompt = row.trace.prompt
    if row.question:
        if render is None:
            raise BadInput("this builder writes prompts of its own, which takes the model's chat form.")
        prompt = tuple(render(row.question))
    return Encoded(prompt=prompt, ids=tuple(ids), trained=tuple(trained))


def texts_of(made: Iterable[Row | Pair]) -> set[str]:
    """Return the texts that have to be encoded."""
    return {part.text for row in rows_of(made) for part in row.parts if part.ids is None}


def rows_of(made: Iterable[Row | Pair]) -> Iterator[Row]:
    """Yield all rows, those of a pair one after the other."""
    for one in made:
        yield from (one.chosen, one.rejected) if isinstance(one, Pair) else (one,)


def lines(
    made: Iterable[Row | Pair], encode: Encode, text: Callable[[Sequence[int]], str], render: Render | None = None
) -> Iterator[dict[str, Any]]:
    """Yield what a trainer takes.

    Of a row `input_ids` and `labels`; of a pair `prompt`, `chosen` and `rejected` in words, and the same in tokens, as
    `prompt_ids`, `chosen_ids` and `rejected_ids`: words that are made tokens anew may come out as others.
    """
    for one in made:
        if isinstance(one, Pair):
            chosen, rejected = encoded(one.chosen, encode, render), encoded(one.rejected, encode, render)
            yield {
                "task": one.chosen.trace.problem.task, "problem": one.chosen.trace.problem.id,
                "prompt": text(chosen.prompt), "chosen": text(chosen.ids), "rejected": text(rejected.ids),
                "prompt_ids": list(chosen.prompt), "chosen_ids": list(chosen.ids), "rejected_ids": list(rejected.ids),
            }  # fmt: skip
        else:
            row = encoded(one, encode, render)
            yield {
                "task": one.trace.problem.task, "problem": one.trace.problem.id,
                "input_ids": [*row.prompt, *row.ids], "labels": row.labels,
            }  # fmt: skip


def write_data(
    out: Path, header: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], audit: Mapping[str, Any], page: str
) -> None:
    """Write a folder of training data, whole or not at all.

    Raises:
        CannotWrite: there is no room, or the folder is not ours to write to.
    """
    draft = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        with (draft / ROWS).open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        header = {"schema_version": SCHEMA_VERSION, **header}
        (draft / DATA).write_text(json.dumps(clean(header), indent=1, ensure_ascii=False) + "\n", "utf-8")
        (draft / AUDIT).write_text(json.dumps(clean(audit), indent=1, ensure_ascii=False) + "\n", "utf-8")
        (draft / PAGE).write_text(page, "utf-8", errors="replace")
        if out.is_dir():
            out.rmdir()  # empty: it was looked at before
        draft.rename(out)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise CannotWrite(f"out: {out} cannot be written: {error.strerror}. Nothing was written there.") from error


@dataclass(frozen=True, kw_only=True)
class Data:
    """A folder of training data as `satisfice shorten` wrote it."""

    folder: Path
    header: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]

    @property
    def digest(self) -> str:
        """A mark of all rows, so that changed data is not taken for the one before."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(json.dumps(row, sort_keys=True).encode())
        return digest.hexdigest()[:16]

    @property
    def makes(self) -> Makes:
        """Whether it holds rows or pairs."""
        found: Makes = self.header["makes"]
        return found


def read_data(folder: Path) -> Data:
    """Read a folder of training data.

    Raises:
        BadInput: there is none, or a line of it is not what it should be; the message names file and line.
    """
    path = folder / DATA
    try:
        header = json.loads(path.read_text("utf-8"))
        if header["schema_version"] != SCHEMA_VERSION or header["makes"] not in ("rows", "pairs"):
            raise ValueError(f"version {header['schema_version']} of {header['makes']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"data: {path} cannot be read ({error}). Give a folder that `satisfice shorten` wrote."
        ) from None
    names = ("input_ids", "labels") if header["makes"] == "rows" else ("prompt_ids", "chosen_ids", "rejected_ids")
    rows = []
    try:
        with (folder / ROWS).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                row = json.loads(line)
                if any(not row[name] or not all(isinstance(i, int) for i in row[name]) for name in names):
                    raise ValueError(f"line {number}: {', '.join(names)} must be lists of whole numbers")
                rows.append(row)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"data: {folder / ROWS} cannot be read: {error}.") from None
    if not rows:
        raise BadInput(f"data: {folder / ROWS} has no rows.")
    return Data(folder=folder, header=header, rows=rows)
