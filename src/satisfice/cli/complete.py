"""What the shell offers when a person presses Tab: names that are known without loading a model."""

from collections.abc import Callable, Iterable


def models(incomplete: str) -> list[str]:
    """Return the models that come with satisfice; folders are completed by the shell."""
    return _starting(("pocket", "smollm2", "smollm2+reasoning"), incomplete)


def tasks(incomplete: str) -> list[str]:
    """Return tiers of tasks, after what stands before the last comma."""
    from satisfice.tasks import task_names

    return _after_comma(task_names(), incomplete)


def families(incomplete: str) -> list[str]:
    """Return the families of methods."""
    return _starting(dict.fromkeys(_column("family")), incomplete)


def methods(incomplete: str) -> list[str]:
    """Return the ids of all methods."""
    return _starting(_column("id"), incomplete)


def methods_of(kind: str, *, several: bool = False) -> Callable[[str], list[str]]:
    """Return a completion for specs of one kind of method; `several` may stand with commas between them."""

    def complete(incomplete: str) -> list[str]:
        known = [*_column("id", kind), *(["cap"] if kind == "policy" else [])]
        return _after_comma(known, incomplete) if several else _starting(known, incomplete)

    return complete


def choices(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a completion for a fixed list of words."""
    return lambda incomplete: _starting(known, incomplete)


def _column(name: str, kind: str | None = None) -> list[str]:
    from satisfice.catalog import methods

    return [row[name] for row in methods() if kind in (None, row["kind"])]


def _after_comma(known: Iterable[str], incomplete: str) -> list[str]:
    """Complete what follows the last comma that stands outside parentheses."""
    depth, begin = 0, 0
    for at, char in enumerate(incomplete):
        depth += (char in "([") - (char in ")]")
        if char == "," and depth == 0:
            begin = at + 1
    if depth:
        return []
    return [incomplete[:begin] + one for one in _starting(known, incomplete[begin:])]


def _starting(known: Iterable[str], incomplete: str) -> list[str]:
    return [one for one in known if one.startswith(incomplete)]
