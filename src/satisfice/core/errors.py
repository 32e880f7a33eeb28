"""Every error that satisfice raises on purpose.

SatisficeError
├── BadInput            a value that a person gave is wrong: name, value, reason, way out
│   ├── UnknownName     no such policy, task, model or field; suggests the nearest
│   ├── MissingExtra    an optional dependency is not installed; says what to type
│   └── ContextExceeded a prompt is longer than the model's context
├── Unfit               a method needs what the engine does not provide
├── EngineError         the engine failed while it was working on a chain
│   └── NotRecorded     replay was asked for something that the recording does not hold
└── CannotWrite         a file cannot be written: the disk is full, or the folder is not ours
"""

import difflib
from collections.abc import Iterable


class SatisficeError(Exception):
    """The root: catch this to catch everything that satisfice raises on purpose."""


class BadInput(SatisficeError, ValueError):
    """A value that a person gave is wrong. The message names it and says what would be right."""


class UnknownName(BadInput):
    """A name that is not in a closed list, with the nearest names and the list itself."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        options = sorted(known)
        close = difflib.get_close_matches(name, options, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
        super().__init__(f"unknown {kind} {name!r}.{hint} Known: {', '.join(options)}.")


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


class NotRecorded(EngineError):
    """Replay was asked for something that the recording does not hold."""


class CannotWrite(SatisficeError):
    """A file cannot be written; the message says what is safe and what to do."""
