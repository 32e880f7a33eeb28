"""The grammar of specs: `deer`, `deer:0.9`, `deer(threshold=0.9, mean=min)`, `deer@pocket`. Nothing is evaluated."""

import re
from dataclasses import dataclass

from satisfice.core.errors import BadInput

MOST_CHARS = 2_000

_NAME = re.compile(
    r"(?P<name>(?:[^\s,():=\"]*\.py:)?[^\s,():=\"]+)\s*(?:(?P<colon>:)(?P<main>.*)|\((?P<fields>.*)\))?", re.S
)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The parts of a spec as they were typed."""

    name: str
    preset: str | None = None  # what follows the @: a model for which the method has settings of its own
    main: str | None = None  # what follows the colon: the value of the first field
    parts: tuple[str, ...] = ()  # what stands in parentheses: `field=value` each


def parse(text: str, what: str, example: str) -> Spec:
    """Return the parts of a spec. `what` is asked for (a policy, say), as in `example`; errors name both.

    >>> parse("deer(threshold=0.9, mean=min)", "policy", "full").parts
    ('threshold=0.9', 'mean=min')
    >>> parse("deer@pocket", "policy", "full").preset
    'pocket'
    """
    if len(text) > MOST_CHARS:
        raise BadInput(f"{what}: a spec has at most {MOST_CHARS} characters, got {len(text)}.")
    match = _NAME.fullmatch(text.strip())
    if match is None:
        raise BadInput(
            f"{what} {text.strip()!r} cannot be read. Write `id`, `id:value` or `id(field=value, ...)`, with commas "
            f"between several, for example: {example}."
        )
    parts = split(match["fields"]) if match["fields"] and match["fields"].strip() else []
    file, colon, last = match["name"].rpartition(":")  # a path may hold an @ of its own
    last, at, preset = last.partition("@")
    return Spec(
        name=file + colon + last, preset=preset if at else None, main=match["main"] if match["colon"] else None,
        parts=tuple(map(str.strip, parts)),
    )  # fmt: skip


def split(text: str) -> list[str]:
    """Return the parts between commas that stand outside parentheses and quotes."""
    parts, depth, quoted, begin = [], 0, False, 0
    for at, char in enumerate(text):
        if char == '"' and text[at - 1 : at] != "\\":
            quoted = not quoted
        elif not quoted:
            depth += (char == "(") - (char == ")")
            if depth < 0:
                break
            if char == "," and depth == 0:
                parts.append(text[begin:at])
                begin = at + 1
    if depth or quoted:
        raise BadInput(f"{text!r}: parentheses or quotes do not match.")
    parts.append(text[begin:])
    if not all(part.strip() for part in parts):
        raise BadInput(f"{text!r}: a comma has nothing on one side of it.")
    return parts
