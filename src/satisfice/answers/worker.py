"""The other side of `satisfice.answers.math`: a process that compares two answers a line, in JSON, until told to stop.

It is a process of its own because what it parses was written by a model: an expression may take for ever, take all
memory, or take the interpreter down. Run as `python -m satisfice.answers.worker SECONDS`.
"""

import json
import math
import os
import sys
from collections.abc import Callable
from typing import Any

MEMORY_BYTES = 4 << 30  # address space; sympy needs a small part of it


def main() -> None:
    """Answer `[answer, gold]` with `true`, `false` or `null` (cannot say), one line each."""
    limit_s = int(sys.argv[1])
    # Whatever a library prints goes to standard error: standard output carries verdicts and nothing else.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    equal = grader()
    print("ready", file=replies)
    for line in sys.stdin:
        _limit(limit_s)
        answer, gold = json.loads(line)
        print(json.dumps(equal(answer, gold)), file=replies)


def grader() -> Callable[[str, str], bool | None]:
    """The comparison itself, with math-verify loaded."""
    import logging

    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)

    def read(text: str) -> list[Any]:
        # As LaTeX first, which also reads plain numbers and sums; what breaks out of the braces is read as prose.
        whole = parse(f"\\boxed{{{text}}}", parsing_timeout=None) if _balanced(text) else []
        return whole or parse(text, parsing_timeout=None)

    def equal(answer: str, gold: str) -> bool | None:
        expected = read(gold)
        if not expected:
            return None
        found = read(answer)
        return bool(found) and bool(verify(expected, found, timeout_seconds=None, raise_on_error=True))

    return equal


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0


def _limit(seconds: int) -> None:
    """Have the system end this process when one comparison takes too much.

    Time is that of the processor: on a busy machine the same answers get the same verdicts.
    """
    try:
        import resource
    except ImportError:  # not on this system; the parent's own clock remains
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(
        resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + seconds, resource.RLIM_INFINITY)
    )
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    main()
