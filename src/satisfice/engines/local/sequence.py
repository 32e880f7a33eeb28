"""Which chain lives in which row of the cache.

A fork shares its parent's row until both want to write there; then the later one gets a copy of what they share. So a
probe that runs while its parent waits costs nothing, and nothing is ever copied for a chain that was dropped.
"""

from dataclasses import dataclass, field

from satisfice.engines.local.cache import RowCache, Slab


class SequenceState:
    """What the loop knows of a sequence. `ids` belongs to the loop while a job runs, else to the coroutine."""

    def __init__(self, ids: list[int], root: "SequenceState | None") -> None:
        self.ids = ids
        self.root = root or self  # sequences of one problem share it
        self.row: CacheRow | None = None
        self.valid = 0  # leading positions whose keys and values are in the row
        self.known = 0  # leading positions that were computed once; computing them again is counted
        self.running = False
        self.closed = False


@dataclass(eq=False)
class CacheRow:
    """One row of the cache and the sequences that share its beginning."""

    slab: Slab
    index: int
    sharers: set[SequenceState] = field(default_factory=set)
    used: int = 0  # step at which it was last written

    @property
    def running(self) -> bool:
        return any(state.running for state in self.sharers)

    @property
    def valid(self) -> int:
        """Positions that some sequence still reads."""
        return max(state.valid for state in self.sharers)


class Rows:
    """The rows that sequences hold, at most `limit` of them and within the cache's memory."""

    def __init__(self, cache: RowCache, limit: int) -> None:
        self.cache, self.limit = cache, limit
        self.taken: set[CacheRow] = set()

    def share(self, child: SequenceState, parent: SequenceState, length: int) -> None:
        child.known = min(parent.known, length)
        if parent.row is not None and parent.valid:
            child.row, child.valid = parent.row, min(parent.valid, length)
            child.row.sharers.add(child)
        elif not parent.running and not parent.known:
            child.root = parent.root  # nothing computed yet: the first of them to run computes it for all

    def lend(self, state: SequenceState) -> None:
        """Let the prompt that a sequence has read stand for the others of its problem too."""
        root = state.root
        if root is not state and root.row is None and not root.closed and state.row is not None:
            read = min(state.valid, len(root.ids) - 1)
            if read > root.valid and state.ids[:read] == root.ids[:read]:
                self.share(root, state, read)

    def leave(self, state: SequenceState) -> None:
        if state.row is not None:
            state.row.sharers.discard(state)
            if not state.row.sharers:
                self._give(state.row)
            state.row, state.valid = None, 0

    def claim(self, state: SequenceState) -> bool:
        """Give a sequence a row that it may write from position `valid` on and that holds all its tokens.

        False when there is none just now.
        """
        if state.row is None:
            root = state.root
            if root is not state and root.row is not None and root.valid:
                self.share(state, root, min(root.valid, _common(root.ids, state.ids)))
        row = state.row
        if row is not None and not any(s is not state and (s.running or s.valid > state.valid) for s in row.sharers):
            return row.slab.width >= len(state.ids) or self.widen(state, len(state.ids))
        fresh = self._new_row(len(state.ids), state)
        if fresh is None and row is not None and not row.running:  # what it shares is all that is in its way
            self.leave(state)
            row, fresh = None, self._new_row(len(state.ids), state)
        if fresh is None:
            return False
        if row is not None:
            self.cache.copy(row.slab, row.index, fresh.slab, fresh.index, state.valid)
            row.sharers.discard(state)
        fresh.sharers.add(state)
        state.row = fresh
        return True

    def widen(self, state: SequenceState, length: int) -> bool:
        """Move a row and whoever shares it to a slab that holds `length` positions; False when there is no room."""
        row = state.row
        assert row is not None
        fresh = self._new_row(length, state, moves=1)
        if fresh is not None:
            self._move(row, fresh)
        return fresh is not None

    def compact(self, slab: Slab, running: list[CacheRow]) -> None:
        """Move chains from high rows to free low ones where attention would read many empty rows between them."""
        while slab.free and slab.free[-1] < len(running):
            top = max(running, key=lambda row: row.index)
            if top.index < len(running) + max(2, len(running) // 8):
                return
            index = slab.free.pop()
            self.cache.copy(slab, top.index, slab, index, top.valid)
            self.cache.give(slab, top.index)
            top.index = index

    def _new_row(self, length: int, asking: SequenceState, moves: int = 0) -> CacheRow | None:
        slab = self.cache.slab_for(length)
        while True:
            if len(self.taken) - moves < self.limit and (index := self._take(slab)) is not None:
                row = CacheRow(slab, index)
                self.taken.add(row)
                return row
            idle = [row for row in self.taken if not row.running and asking not in row.sharers]
            if not idle:
                return None
            oldest = min(idle, key=lambda row: (row.slab is not slab, row.used, row.index))
            for state in list(oldest.sharers):
                self.leave(state)  # its keys and values are computed again, and counted, if it ever goes on

    def _take(self, slab: Slab) -> int | None:
        index = self.cache.take(slab)
        if index is None and any(other.free for other in self.cache.slabs):
            for other in self.cache.slabs:  # memory of free rows of other widths
                kept = sorted((row for row in self.taken if row.slab is other), key=lambda row: row.index)
                self.cache.shrink(other, [row.index for row in kept])
                for place, row in enumerate(kept):
                    row.index = place
            index = self.cache.take(slab)
        return index

    def _move(self, row: CacheRow, fresh: CacheRow) -> None:
        self.cache.copy(row.slab, row.index, fresh.slab, fresh.index, row.valid)
        fresh.sharers, fresh.used = row.sharers, row.used
        for state in fresh.sharers:
            state.row = fresh
        self._give(row)

    def _give(self, row: CacheRow) -> None:
        self.taken.discard(row)
        self.cache.give(row.slab, row.index)


def _common(a: list[int], b: list[int]) -> int:
    """Length of the common beginning of two lists."""
    n = min(len(a), len(b))
    return next((i for i in range(n) if a[i] != b[i]), n)
