"""What of a growing chain may be shown: the tokens that no later move of a policy takes back."""

from collections.abc import Callable, Iterable, Sequence

from satisfice.core.chain import Chain


def committed(chain: Chain, begin: int = 0) -> list[int]:
    """Return tokens after the prompt, from number `begin` on, that stay whatever is done with the chain next.

    Left out are tokens that hold a stop text of the call under way or may be the beginning of one, the tokens of a cue
    that the chain stands before, and the end of thinking while it can be reopened. May be asked at any time.
    """
    request = chain.asking
    new = chain.after_prompt(begin)
    if request is None:
        return new[: len(new) - chain.reopenable]
    if new and new[-1] in request.stop_ids:
        del new[-1]
    if not request.stop_texts:
        return new
    since = max(0, (request.match_from or 0) - chain.prompt_length - begin)
    return new[: since + settled(new[since:], request.stop_texts, chain.session.engine.decode)]


def committed_by_all(chains: Iterable[Chain], begin: int = 0) -> list[int]:
    """Return the committed tokens that all chains share which may still be returned.

    The chains must agree on their first `begin` tokens.
    """
    alive = [committed(chain, begin) for chain in chains if not chain.closed and not chain.looks]
    if len(alive) < 2:
        return alive[0] if alive else []
    shortest = min(alive, key=len)
    same = next((i for i, token in enumerate(shortest) if any(ids[i] != token for ids in alive)), len(shortest))
    return shortest[:same]


def settled(ids: Sequence[int], texts: Sequence[str], decode: Callable[[list[int]], str]) -> int:
    """Return how many of the tokens come before anything that is, or may become, one of the stop texts.

    >>> pieces = ["so 46", "\\n", "W", "ai", "t"]
    >>> [settled(range(n), ["Wait"], lambda ids: "".join(pieces[i] for i in ids)) for n in range(1, 6)]
    [1, 2, 2, 2, 2]
    """
    if not texts:
        return len(ids)
    longest = max(map(len, texts))
    first = max(0, len(ids) - longest - 3)  # of a character at the end there may be three tokens that have no text yet
    tail = list(ids[first:])
    text = decode(tail)
    whole = text.rstrip("\ufffd")
    at = next((i for i in range(len(whole)) if any(_begins(whole[i:], stop) for stop in texts)), len(whole))
    if at == len(text):
        return len(ids)
    while tail and len(decode(tail)) > at:
        tail.pop()
    return first + len(tail)


def _begins(text: str, stop: str) -> bool:
    return text.startswith(stop) or stop.startswith(text)
