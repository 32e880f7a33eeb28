"""Say whether an answer is right, or two answers the same: by their kind, and with math-verify where it takes algebra.

Most answers need none and are settled here. What is left is compared in a process of its own, which can hang or crash
without harm. What an answer causes there is wrong; what the reference or the grader causes is `UNKNOWN`: the reference
is compared with itself once to tell which.
"""

import atexit
import functools
import os
from collections.abc import Callable, Generator

from satisfice.answers import algebra
from satisfice.answers.compare import NeedsAlgebra, compare, without
from satisfice.answers.notation import plain
from satisfice.answers.process import Call, Outcome, Worker, inside
from satisfice.core.problem import Verdict

LIMIT_S = 5  # processor seconds for one comparison
PATIENCE_S = 120.0  # on the clock, however busy the machine
MAX_CHARS = 2_000  # a longer text is no answer, and parsing it could take for ever


def verify(answer: str | None, gold: str) -> Verdict:
    r"""Say whether `answer` is the right one: equal as text, as a number or as mathematics.

    No answer is wrong, and so is one that cannot be evaluated. When the grader fails or cannot read the reference, the
    verdict is `UNKNOWN`.

    >>> verify("1/2", "0.50")
    <Verdict.RIGHT: 'right'>
    >>> verify(None, "0.5")
    <Verdict.WRONG: 'wrong'>
    """
    return _grader(os.getpid()).verify(answer, gold)


async def verify_async(answer: str | None, gold: str) -> Verdict:
    """Do as `verify`, for coroutines: the event loop goes on while the grader works."""
    return await _grader(os.getpid()).verify_async(answer, gold)


def same(a: str | None, b: str | None) -> bool:
    """Return whether two answers mean the same, in whatever notation; None and empty answers agree with nothing.

    >>> same("1,000", "1000.0"), same(None, None)
    (True, False)
    """
    if not a or not b:
        return False
    return verify(*sorted((a, b))) is Verdict.RIGHT  # sorted: math-verify is not symmetric, and `same` is


class Grader:
    """One worker process that compares answers, one after another; any thread or coroutine may ask.

    A comparison gets `limit_s` seconds of the processor and `patience_s` seconds on the clock. `equal` compares an
    answer with a reference there, and `readable` says whether a reference can be read.
    """

    def __init__(
        self,
        *,
        limit_s: float = LIMIT_S,
        patience_s: float = PATIENCE_S,
        equal: Callable[[str, str], bool] = algebra.equal,
        readable: Callable[[str], bool] = algebra.readable,
        load: Callable[[], None] = algebra.load,
    ) -> None:
        self.equal, self.readable = equal, readable
        hint = 'python -c "from satisfice.answers.algebra import load; load()"'
        self._worker = Worker(load, limit_s=limit_s, patience_s=patience_s, hint=hint)
        self._can_be_read: dict[str, bool] = {}

    def verify(self, answer: str | None, gold: str) -> Verdict:
        """Return the verdict on an answer."""
        quick = _quick(answer, gold)
        return quick if quick is not None else self._worker.run(self._steps(str(answer), gold))

    async def verify_async(self, answer: str | None, gold: str) -> Verdict:
        """Return the verdict on an answer; the event loop goes on."""
        quick = _quick(answer, gold)
        return quick if quick is not None else await self._worker.run_async(self._steps(str(answer), gold))

    def close(self) -> None:
        """End the worker. Idempotent; what is still queued is forgotten."""
        self._worker.close()

    def _steps(self, answer: str, gold: str) -> Generator[Call, Outcome, Verdict]:
        if not self._can_be_read.get(gold, True):
            return Verdict.UNKNOWN
        found = yield self.equal, (answer, gold)
        if not found.failure:
            return Verdict.RIGHT if found.value else Verdict.WRONG
        if gold not in self._can_be_read:
            itself = yield self.readable, (gold,)
            if itself.failure == "gone":
                return Verdict.UNKNOWN
            self._can_be_read[gold] = bool(itself.value)
        return Verdict.WRONG if self._can_be_read[gold] and found.failure != "gone" else Verdict.UNKNOWN


class _Here(Grader):
    """A grader for code that runs in a worker process already, whose limits are its own."""

    def verify(self, answer: str | None, gold: str) -> Verdict:
        quick = _quick(answer, gold)
        if quick is not None:
            return quick
        try:
            return Verdict.RIGHT if self.equal(str(answer), gold) else Verdict.WRONG
        except Exception:  # noqa: BLE001  (whatever the libraries trip over)
            return Verdict.WRONG if self.readable(gold) else Verdict.UNKNOWN


@functools.cache
def _grader(process_id: int) -> Grader:
    """Return the grader of this process: one forked from another has pipes of its own."""
    if inside():
        return _Here()
    grader = Grader()
    atexit.register(grader.close)
    return grader


def _quick(answer: str | None, gold: str) -> Verdict | None:
    """Return the verdict where no algebra is needed, else None."""
    if answer is None or not answer.strip():
        return Verdict.WRONG
    if answer.strip() == gold.strip():
        return Verdict.RIGHT
    if len(gold) > MAX_CHARS:
        return Verdict.UNKNOWN
    if len(answer) > MAX_CHARS:
        return Verdict.WRONG
    if not plain(gold):
        return Verdict.UNKNOWN
    try:
        return Verdict.RIGHT if compare(answer, gold, without) else Verdict.WRONG
    except (NeedsAlgebra, RecursionError):
        return None
