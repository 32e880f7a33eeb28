"""Say whether an answer is right, or two answers the same, with math-verify in a process of its own.

Most answers never get that far: equal text and plain numbers are settled here. What is left is parsed by a worker that
can hang or crash without harm: its verdict is then `UNKNOWN`, and the next answer gets a new worker.
"""

import asyncio
import atexit
import contextlib
import functools
import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

from satisfice.core.errors import SatisficeError
from satisfice.core.problem import Verdict

LIMIT_S = 5  # processor seconds for one comparison
PATIENCE_S = 120.0  # for a reply, or for a new worker to start, on however busy a machine
MAX_CHARS = 2_000  # a longer text is no answer, and parsing it could take for ever

_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:[eE][+-]?\d{1,3})?(?:/0*[1-9]\d*)?")
_PROSE = re.compile(r"(?=.*[^\W\d_]{3})[^\W\d_]+(?:[\s'-]+[^\W\d_]+)*")


def verify(answer: str | None, gold: str) -> Verdict:
    r"""Say whether `answer` is the right one: equal as text, as a number or as mathematics.

    No answer is wrong. When the grader hangs, crashes or cannot read the reference, the verdict is `UNKNOWN`.

    >>> verify("1/2", "0.50")
    <Verdict.RIGHT: 'right'>
    >>> verify(None, "0.5")
    <Verdict.WRONG: 'wrong'>
    """
    return _grader(os.getpid()).verify(answer, gold)


async def verify_async(answer: str | None, gold: str) -> Verdict:
    """`verify` for coroutines: the event loop goes on while the grader works."""
    return await _grader(os.getpid()).verify_async(answer, gold)


def same(a: str | None, b: str | None) -> bool:
    """Whether two answers mean the same, in whatever notation; None and empty answers agree with nothing.

    >>> same("1,000", "1000.0"), same(None, None)
    (True, False)
    """
    if not a or not b:
        return False
    return verify(*sorted((a, b))) is Verdict.RIGHT  # sorted: math-verify is not symmetric, and `same` is


class Grader:
    """One worker process and the thread that talks to it: comparisons queue, so any thread or coroutine may ask.

    A comparison gets `limit_s` seconds of the processor, which the worker sees to, and no reply within `patience_s`
    seconds on the clock counts as none. `command` starts the worker; the default is math-verify's.
    """

    def __init__(
        self, *, limit_s: int = LIMIT_S, patience_s: float = PATIENCE_S, command: list[str] | None = None
    ) -> None:
        self.patience_s = patience_s
        self.command = command or [sys.executable, "-m", "satisfice.answers.worker", str(limit_s)]
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="satisfice-grader")
        self._process: subprocess.Popen[str] | None = None

    def verify(self, answer: str | None, gold: str) -> Verdict:
        """See the function of the same name."""
        quick = _quick(answer, gold)
        return quick if quick is not None else self._thread.submit(self._ask, str(answer), gold).result()

    async def verify_async(self, answer: str | None, gold: str) -> Verdict:
        """See the function of the same name."""
        quick = _quick(answer, gold)
        if quick is not None:
            return quick
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, str(answer), gold)

    def close(self) -> None:
        """End the worker. Idempotent; what is still queued is forgotten."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._end()

    def _ask(self, answer: str, gold: str) -> Verdict:
        process = self._started()
        reply = self._exchange(process, json.dumps([answer, gold]), self.patience_s)
        if reply is None:
            self._end()
            return Verdict.UNKNOWN
        return {"true": Verdict.RIGHT, "false": Verdict.WRONG}.get(reply, Verdict.UNKNOWN)

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            if self._exchange(self._process, None, PATIENCE_S) != "ready":
                self._end()
                raise SatisficeError(
                    "the process that checks answers did not start. See why with: python -m satisfice.answers.worker 5"
                )
        return self._process

    @staticmethod
    def _exchange(process: "subprocess.Popen[str]", line: str | None, timeout_s: float) -> str | None:
        """Send a line, if any, and read one; None when the worker died, or was killed because time was up."""
        assert process.stdin is not None
        assert process.stdout is not None
        clock = threading.Timer(timeout_s, process.kill)
        clock.daemon = True
        clock.start()
        try:
            if line is not None:
                process.stdin.write(line + "\n")
                process.stdin.flush()
            return process.stdout.readline().strip() or None
        except (OSError, ValueError):  # the pipe broke, or was closed under us
            return None
        finally:
            clock.cancel()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # unsent bytes for a dead worker
                        pipe.close()


@functools.cache
def _grader(process_id: int) -> Grader:
    """The grader of this process: one forked from another has pipes of its own."""
    grader = Grader()
    atexit.register(grader.close)
    return grader


def _quick(answer: str | None, gold: str) -> Verdict | None:
    """The verdict where no algebra is needed, else None."""
    if answer is None or not answer.strip():
        return Verdict.WRONG
    if len(gold) > MAX_CHARS:
        return Verdict.RIGHT if answer.strip() == gold.strip() else Verdict.UNKNOWN
    if len(answer) > MAX_CHARS:
        return Verdict.WRONG
    a, b = _normal(answer), _normal(gold)
    if a == b:
        return Verdict.RIGHT
    if _PROSE.fullmatch(a) and _PROSE.fullmatch(b):
        # A word is no product of its letters, which is what algebra would make of it.
        return Verdict.RIGHT if a.casefold() == b.casefold() else Verdict.WRONG
    if _NUMBER.fullmatch(a) and _NUMBER.fullmatch(b):
        x, y = _value(a), _value(b)
        if x == y:
            return Verdict.RIGHT
        if x.denominator == y.denominator == 1:
            return Verdict.WRONG
    return None  # decimals that differ too: whether a rounded one will do is math-verify's to say


def _normal(text: str) -> str:
    r"""Without what never carries meaning: outer spaces, dollars, a full stop at the end, `\text{}` around all."""
    text = text.strip().strip("$").strip().removesuffix(".").strip()
    inner = re.fullmatch(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}", text)
    return inner[1].strip() if inner else text


def _value(number: str) -> Fraction:
    whole, _, below = number.replace(",", "").partition("/")
    return Fraction(whole) / Fraction(below or "1")
