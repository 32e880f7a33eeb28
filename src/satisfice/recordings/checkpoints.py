"""Where a chain would pause for rules that look at cues, after steps, or every so many tokens."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from satisfice.core.recorded import Why
from satisfice.engines.stops import could_end, find_stop

Decode = Callable[[list[int]], str]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place in the thinking to ask at."""

    at: int  # tokens of thinking before it
    why: tuple[Why, ...]
    cue: str = ""  # the cue that comes next
    width: int = 0  # tokens up to the end of that cue


def places(
    ids: Sequence[int],
    decode: Decode,
    *,
    cues: Sequence[str],
    step: str,
    every: int | None,
    limit: bool,
    close: int = 0,
) -> list[Place]:
    """Return the places of a chain whose thinking is `ids`, in order: the start first, the end if a `limit` made it.

    Each kind is found as a chain finds it that pauses for this kind alone: before a cue, after a step's delimiter
    ("" for none), after `every` tokens. `close` tokens end the thinking; only with the last of them it is over, so a
    chain that counts may pause among them.

    >>> words = {1: "so", 2: "Wait", 3: ".", 4: "no"}
    >>> found = places([1, 2, 4, 3, 1], lambda ids: "".join(map(words.get, ids)), cues=["Wait"], step=".", every=2,
    ...     limit=False)
    >>> [(place.at, *place.why) for place in found]
    [(0, 'start'), (1, 'cue'), (2, 'every'), (4, 'step', 'every')]
    """
    why: dict[int, list[Why]] = {0: ["start"]}
    cue: dict[int, tuple[str, int]] = {}
    for begin, end, text in _pauses(ids, cues, decode):
        why.setdefault(begin, []).append("cue")
        cue[begin] = (text, end - begin)
    for _, end, _ in _pauses(ids, [step] if step else [], decode):
        why.setdefault(end, []).append("step")
    for at in range(every, len(ids) + max(close, 1), every) if every else ():
        why.setdefault(at, []).append("every")
    if limit:
        why.setdefault(len(ids), []).append("limit")
    return [
        Place(at=at, why=tuple(dict.fromkeys(why[at])), cue=cue.get(at, ("", 0))[0], width=cue.get(at, ("", 0))[1])
        for at in sorted(why)
    ]


def _pauses(ids: Sequence[int], texts: Sequence[str], decode: Decode) -> Iterator[tuple[int, int, str]]:
    """Where a stop text was found, one call of `sample` after the other: its first token, the token after, the text."""
    begin = 0
    known: dict[int, bool] = {}
    for at, token in enumerate(ids) if texts else ():
        if token not in known:
            known[token] = could_end(decode([token]), texts)
        if known[token]:
            low = max(begin, at - 4 * max(map(len, texts)))  # what `find_stop` looks at
            found = find_stop(ids[low : at + 1], 0, at - low, texts, decode)
            if found is not None:
                yield low + found.cut, at + 1, found.text
                begin = at + 1
