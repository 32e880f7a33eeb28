"""How much of a sequence was computed before: what makes a prefix that is not shared visible in the ledger."""


class Past:
    """The leading tokens of a sequence that an engine has computed already, for it or for one that began alike.

    Engines that keep no state for us compute a chain's beginning again with every call, unless their cache holds it.
    Only what had been computed before counts as computed *again*: a prompt's first time is no waste.
    """

    def __init__(self, prompt: int) -> None:
        self._prompt = [prompt, 0]  # shared by all forks: its length, and how much of it was read
        self._own = 0

    def fork(self, length: int) -> "Past":
        """That of a copy of the first `length` tokens."""
        child = Past(0)
        child._prompt, child._own = self._prompt, min(self._own, length)
        return child

    def cut(self, length: int) -> None:
        """The sequence ends after `length` tokens now."""
        self._own = min(self._own, length)

    def begin(self) -> int:
        """A call reads the sequence now; how many of its tokens were computed before."""
        known = max(self._own, self._prompt[1])
        self._prompt[1] = self._prompt[0]
        return known

    def end(self, length: int) -> None:
        """The call is over, and the sequence is `length` tokens long."""
        self._own = length


def computed_again(known: int, length: int, cached: int) -> int:
    """Tokens that a call over `length` tokens computed although they had been computed before.

    The last one is read anew by every call, for its scores, and does not count.

    >>> computed_again(300, 301, 256), computed_again(0, 301, 0), computed_again(300, 300, 299)
    (44, 0, 0)
    """
    return max(0, min(known, length - 1) - cached)
