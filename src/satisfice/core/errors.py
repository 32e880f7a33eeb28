"""Every error that satisfice raises on purpose.

SatisficeError
├── BadInput            a value that a person gave is wrong: name, value, reason, way out
│   ├── UnknownName     no such policy, task, model or field; suggests the nearest
│   ├── MissingExtra    an optional dependency is not installed; says what to type
│   └── ContextExceeded a prompt is longer than the model's context
├── Unfit               a method needs what the engine does not provide
├── EngineError         the engine failed while it was working on a chain
│   ├── Refused         a server understood the request and said no
│   └── NotRecorded     replay was asked for something that the recording does not hold
└── CannotWrite         a file cannot be written: the disk is full, or the folder is not ours
"""

import difflib
from collections.abc import Iterable

FEW, NEAREST = 16, 8  # names that are listed whole; names that are listed of more than those


class SatisficeError(Exception):
    """The root: catch this to catch everything that satisfice raises on purpose."""


class BadInput(SatisficeError, ValueError):
    """A value that a person gave is wrong. The message names it and says what would be right."""


class UnknownName(BadInput):
    """A name that is not in a closed list: says the nearest names, and the list itself where it is short."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        options = sorted(set(known))
        close = difflib.get_close_matches(name, options, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
        super().__init__(f"unknown {kind} {name!r}.{hint} {shortlist(name, options)}")


def shortlist(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the names that are known; of many the nearest to `name` alone, the nearest first.

    >>> shortlist("medum", ["easy", "medium", "hard"])
    'Known: easy, hard, medium.'
    >>> shortlist("task-7", [f"task-{i}" for i in range(40)])
    'The nearest of 40: task-7, task-17, task-27, task-37, task-0, task-1, task-2, task-3.'
    """
    options = sorted(set(known))
    if len(options) <= FEW:
        return f"Known: {', '.join(options)}."
    nearest = sorted(options, key=lambda one: -difflib.SequenceMatcher(None, name, one).ratio())
    return f"The nearest of {len(options)}: {', '.join(nearest[:NEAREST])}."


class MissingExtra(BadInput):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs packages that are not installed. Install them with: pip install 'satisfice[{extra}]'"
        )


class ContextExceeded(BadInput):
    """A prompt is longer than the model's context."""

    def __init__(self, message: str, *, prompt_tokens: int, max_length: int) -> None:
        super().__init__(message)
        self.prompt_tokens, self.max_length = prompt_tokens, max_length


class Unfit(SatisficeError):
    """A method needs what the engine does not provide; raised before anything runs."""


class EngineError(SatisficeError):
    """The engine failed while it was working on a chain. The problem fails; the run goes on."""


class Refused(EngineError):
    """A server understood the request and said no; the same request will not succeed at once.

    `words` are the server's own, without its address and our key. `retry_s` is how long it asks to wait.
    """

    def __init__(self, message: str, status: int, *, words: str = "", retry_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.words, self.retry_s = status, words, retry_s


class NotRecorded(EngineError):
    """Replay was asked for something that the recording does not hold."""


class CannotWrite(SatisficeError):
    """A file cannot be written; the message says what is safe and what to do."""
