"""The words of single rules, for a recording that is to serve them."""

from collections.abc import Iterator
from dataclasses import fields

from satisfice.catalog import METHODS
from satisfice.core.errors import UnknownName
from satisfice.core.profile import Profile

MOVED = {
    "inducers": "deer-pro", "extend_thinking": "s1-budget-forcing", "close_at_budget": "s1-budget-forcing",
    "reflections": "no-wait", "ask_certainty": "concise", "sure_words": "concise", "doubting_words": "concise",
    "assurances": "concise", "hesitations": "dynasor-cot",
}  # fmt: skip
"""Where the fields stand now that profiles of recordings made before December 2026 hold themselves."""


def rule_word(profile: Profile, rule: str, word: str) -> str | tuple[str, ...]:
    """Return what a model says for one of a rule's words.

    Raises:
        UnknownName: the rule has no such word.
    """
    words = getattr(METHODS[rule], "words", None)
    known = [field.name for field in fields(words)] if words is not None else []
    if word not in known:
        raise UnknownName(f"word of {rule}", word, known)
    found: str | tuple[str, ...] = getattr(profile.words(rule, words), word)
    return found


def every_word(profile: Profile) -> Iterator[str | tuple[str, ...]]:
    """Yield what a model says for each word of each rule of the catalogue."""
    for name, method in METHODS.items():
        if (words := getattr(method, "words", None)) is not None:
            yield from vars(profile.words(name, words)).values()


def is_closing(word: str) -> bool:
    """Return whether what follows a word is the visible answer."""
    return word.startswith("close_")


def migrated(row: object) -> object:
    """Return the JSON of a profile with words of single rules under `rules`, where older recordings had fields."""
    if not isinstance(row, dict) or not MOVED.keys() & row.keys():
        return row
    rules: dict[str, dict[str, object]] = {}
    for name in MOVED.keys() & row.keys():
        rules.setdefault(MOVED[name], {})[name] = row[name]
    return {**{name: value for name, value in row.items() if name not in MOVED}, "rules": rules}
