"""Which chain lives in which row of the cache.

A fork shares its parent's row until both want to write there; then the later one gets a copy of what they share. So a
probe that runs while its parent waits costs nothing, and nothing is ever copied for a chain that was dropped.
"""

from dataclasses import dataclass, field

from satisfice.engines._cache import MIN_ROWS, RowCache


class State:
    """What the loop knows of a sequence. `ids` belongs to the loop while a job runs, else to the coroutine."""

    def __init__(self, ids: list[int], root: "State | None") -> None:
        self.ids = ids
        self.root = root or self  # sequences of one problem share it
        self.row: Row | None = None
        self.valid = 0  # leading positions whose keys and values are in the row
        self.known = 0  # leading positions that were computed once; computing them again is counted
        self.running = False
        self.closed = False


@dataclass(eq=False)
class Row:
    """One row of the cache and the sequences that share its beginning."""

    index: int
    sharers: set[State] = field(default_factory=set)
    used: int = 0  # step at which it was last written


class Rows:
    """The rows of a cache, free and taken."""

    def __init__(self, cache: RowCache) -> None:
        self.cache = cache
        self.free = list(range(cache.shape[0] - 1, -1, -1))  # taken from the end: low rows first
        self.taken: dict[int, Row] = {}

    def share(self, child: State, parent: State, length: int) -> None:
        child.known = min(parent.known, length)
        if parent.row is not None and parent.valid:
            child.row, child.valid = parent.row, min(parent.valid, length)
            child.row.sharers.add(child)
        elif not parent.running and not parent.known:
            child.root = parent.root  # nothing computed yet: the first of them to run computes it for all

    def leave(self, state: State) -> None:
        if state.row is not None:
            state.row.sharers.discard(state)
            if not state.row.sharers:
                del self.taken[state.row.index]
                self.free.append(state.row.index)
                self.free.sort(reverse=True)
            state.row, state.valid = None, 0

    def _new_row(self) -> Row | None:
        if not self.free:
            idle = [row for row in self.taken.values() if not any(s.running for s in row.sharers)]
            if not idle:
                return None
            for state in list(min(idle, key=lambda row: row.used).sharers):
                self.leave(state)  # its keys and values are computed again, and counted, if it ever goes on
        row = Row(self.free.pop())
        self.taken[row.index] = row
        return row

    def claim(self, state: State) -> bool:
        """Give a sequence a row it may write from position `valid` on; False when there is none just now."""
        if state.row is None:
            root = state.root
            if root is not state and root.row is not None and root.valid:
                self.share(state, root, min(root.valid, _common(root.ids, state.ids)))
        row = state.row
        if row is not None and not any(s is not state and (s.running or s.valid > state.valid) for s in row.sharers):
            return True
        state.running = True  # not to be evicted by its own search for a row
        fresh = self._new_row()
        state.running = False
        if fresh is None:
            return False
        if row is not None:
            self.cache.copy(row.index, fresh.index, state.valid)
            row.sharers.discard(state)
        fresh.sharers.add(state)
        state.row = fresh
        return True

    def compact(self, running: list[State]) -> None:
        """Move a running chain from the highest row to a free low one when most of what attention reads is empty."""
        while self.free and running:
            top = max((state.row for state in running if state.row), key=lambda row: row.index)
            if top.index + 1 < 2 * max(len(running), MIN_ROWS) or self.free[-1] > top.index:
                return
            moved = Row(self.free.pop(), top.sharers, top.used)
            self.cache.copy(top.index, moved.index, max(state.valid for state in top.sharers))
            for state in top.sharers:
                state.row = moved
            del self.taken[top.index]
            self.taken[moved.index] = moved
            self.free.append(top.index)
            self.free.sort(reverse=True)


def _common(a: list[int], b: list[int]) -> int:
    """Length of the common beginning of two lists."""
    n = min(len(a), len(b))
    return next((i for i in range(n) if a[i] != b[i]), n)
