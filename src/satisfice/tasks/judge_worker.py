"""The other side of `satisfice.tasks.judge`: scores one answer a line until its input ends.

Run as `python -m satisfice.tasks.judge_worker SECONDS`. The first line holds the tasks; every other line is
`[task, problem, answer]` with positions in them, and is answered by a verdict.
"""

import base64
import contextlib
import json
import math
import os
import pickle
import signal
import sys

MEMORY_BYTES = 4 << 30  # address space; a scorer needs a small part of it


def main() -> None:
    """Answer each line with a verdict."""
    limit_s = math.ceil(float(sys.argv[1]))
    # Whatever a scorer prints goes to standard error: standard output carries verdicts and nothing else.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    with contextlib.suppress(ImportError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    tasks = pickle.loads(base64.b64decode(sys.stdin.readline()))
    print("ready", file=replies)
    for line in sys.stdin:
        # Should the one who asked be gone, nobody else would end a scorer that hangs. The first answer loads more code.
        if hasattr(signal, "alarm"):
            signal.alarm(limit_s + 150)
        task, problem, answer = json.loads(line)
        print(tasks[task].verify(tasks[task].problems[problem], answer).value, file=replies)
        if hasattr(signal, "alarm"):
            signal.alarm(0)


if __name__ == "__main__":
    main()
