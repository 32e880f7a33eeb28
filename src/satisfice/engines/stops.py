"""Finding stop texts in a stream of tokens without decoding it at every step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

Decode = Callable[[list[int]], str]


@dataclass(frozen=True, kw_only=True)
class Match:
    """A stop text that was found: `cut` is the position of the token that holds its first character."""

    cut: int
    text: str


def could_end(piece: str, texts: Sequence[str]) -> bool:
    """Return whether a stop text can end inside this token: the only tokens after which it pays to decode the tail.

    >>> could_end("it", ["Wait"]), could_end(" Wait,", ["Wait"]), could_end("bit", ["Wait"])
    (True, True, False)
    """
    return piece.startswith(_ends(tuple(texts))) or any(text in piece for text in texts)


@lru_cache(256)
def _ends(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is left of each text after some of it: a vocabulary is looked through for them, token by token."""
    return tuple(text[n:] for text in texts for n in range(len(text)))


def find_stop(ids: Sequence[int], begin: int, new: int, texts: Sequence[str], decode: Decode) -> Match | None:
    """The stop text that begins first at or after token `begin` and ends in or after token `new`; None without one.

    `ids` is the whole sequence, `new` the position of the first token that has not been searched yet.
    """
    if not texts:
        return None
    # A stop text of n characters that ends in a new token begins at most n tokens before it: no token is empty text
    # but for pieces of one multi-byte character, of which there are at most four.
    start = max(0, begin, new - 4 * max(map(len, texts)))
    tail = list(ids[start:])
    text = decode(tail)
    found = [(at, stop) for stop in texts if (at := text.find(stop)) >= 0]
    if not found:
        return None
    at, stop = min(found, key=lambda pair: (pair[0], -len(pair[1])))
    low, high = 0, len(tail)  # the smallest k with len(decode(tail[:k])) > at
    while low < high:
        middle = (low + high) // 2
        if len(decode(tail[:middle])) > at:
            high = middle
        else:
            low = middle + 1
    return Match(cut=start + low - 1, text=stop)
