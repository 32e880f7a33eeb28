"""A sample of the questions that come in, kept for `satisfice recommend`: only where told to, and redacted.

At most so many questions are kept, each of all that came with the same chance (reservoir sampling, Vitter 1985), for so
many days. Only conversations of one message are questions; pictures, tools, system prompts and longer ones are passed.
Addresses, long numbers and what looks like a key are taken out before anything is written. Answers are never kept.
"""

import hashlib
import json
import logging
import os
import random
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from satisfice.core.errors import CannotWrite
from satisfice.gateway.request import GenerationRequest

LONGEST = 20_000  # characters of a question
NO_ANSWER = "unknown"
"""What stands for the answer that nobody knows: `satisfice recommend --loss changed` does not look at it."""

log = logging.getLogger("satisfice.gateway")

_TAKEN_OUT = (
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"), "[address]"),
    (re.compile(r"\b(?:https?|ftp)://\S+"), "[link]"),
    (re.compile(r"\b(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{20,}\b"), "[key]"),
    (re.compile(r"(?<![\w.])\+?\d(?:(?:[-/ ]|\) ?| ?\()?\d){8,}(?![\w.])"), "[number]"),
)


def redacted(text: str) -> str:
    """Return a text without addresses, links, keys and numbers of nine digits or more, however grouped.

    >>> redacted("Write to jo@example.org or +49 30 1234567 about 12 + 345, key sk-ab12cd34ef56gh78ij90")
    'Write to [address] or [number] about 12 + 345, key [key]'
    """
    for pattern, mark in _TAKEN_OUT:
        text = pattern.sub(mark, text)
    return text


def question_of(request: GenerationRequest) -> str:
    """Return the question of a conversation of one message in plain text; "" where it is none."""
    if not request.chat or len(request.messages) != 1 or request.has_media or request.fields.get("tools"):
        return ""
    message = request.messages[0]
    content: Any = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content)
    fits = message.get("role") == "user" and isinstance(content, str) and len(content) <= LONGEST
    return content.strip() if fits else ""


class Keeper:
    """Keeps questions in a file that only the owner may read.

    Raises:
        CannotWrite: the file cannot be written, or holds something else.
    """

    def __init__(self, path: Path, most: int, days: int) -> None:
        self.path, self.most, self.days = path, most, days
        self.rows = _read(path)[:most]
        self.came = max((int(row["came"]) for row in self.rows), default=0)  # questions, those of earlier runs too
        self._turn = threading.Lock()
        self.write()  # whoever may not write hears of it at the start

    def offer(self, request: GenerationRequest) -> bool:
        """Keep the question of a request, or not, as chance has it; whether there is something to `write`."""
        question = redacted(question_of(request))
        if not question:
            return False
        self.came += 1
        ident = hashlib.sha256(question.encode()).hexdigest()[:16]
        place = len(self.rows) if len(self.rows) < self.most else random.randrange(self.came)
        if place >= self.most or any(row["id"] == ident for row in self.rows):
            return False
        row = {"id": ident, "question": question, "answer": NO_ANSWER, "kept_on": _day(0), "came": self.came}
        self.rows = [*self.rows[:place], row, *self.rows[place + 1 :]]
        return True

    def write(self) -> None:
        """Write what is kept; what is older than it may be goes."""
        oldest = _day(self.days)
        self.rows = [row for row in self.rows if row["kept_on"] >= oldest]
        draft = self.path.with_name(f".{self.path.name}")
        try:
            with self._turn:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                draft.unlink(missing_ok=True)
                with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in self.rows)
                draft.replace(self.path)
        except OSError as error:
            raise CannotWrite(f"{self.path} cannot be written: {error.strerror}.") from error

    def write_quietly(self) -> None:
        """Write what is kept; a disk that fails is told in the log, and no client hears of it."""
        try:
            self.write()
        except CannotWrite as error:
            log.warning("a question was not kept: %s", error)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        rows = [json.loads(line) for line in lines if line.strip()]
        return [{**row, "came": int(row["came"]), "kept_on": str(row["kept_on"]), "id": str(row["id"])} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotWrite(
            f"{path}: it holds something else than kept questions ({error}). Name another file."
        ) from error


def _day(ago: int) -> str:
    return (datetime.now(UTC) - timedelta(days=ago)).date().isoformat()
