"""Chains of every kind through a kernel built with the address sanitiser; run in a process that preloads it."""

import asyncio
import ctypes
import os
import sys
from pathlib import Path

import numpy as np
import torch

from satisfice.core.engine import Request, Signals
from satisfice.engines.local import kernel
from satisfice.engines.local.engine import LocalEngine


def show_that_it_catches() -> None:
    """A child whose batch claims more rows than the cache has must be stopped by the sanitiser."""
    child = os.fork()
    if child == 0:
        os.close(2)
        kernel._check_shapes = lambda *_: None  # type: ignore[assignment]
        engine = LocalEngine("pocket", compiled=True)
        passes = engine._loop.passes._kernel  # type: ignore[attr-defined]
        zero = np.zeros(1, dtype=np.int64)
        row = np.array([engine._loop.cache.take(engine._loop.cache.slabs[0])])
        short = (ctypes.c_double * 1)()
        temperature = np.ones(1, dtype=np.float32)
        picks = kernel.Draws(temperature, temperature, np.frombuffer(short, dtype=np.float64)[1:])
        passes(np.repeat(zero, 40_000), np.repeat(zero, 40_000), zero, row, np.arange(40_000), zero, draws=picks)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    sys.stdout.write(f"overrun {'caught' if status else 'missed'}\n")


async def chains() -> None:
    """Many lengths at once, forks, cuts, biases, nuclei, states, and sequences that fill their rows to the end."""
    async with LocalEngine("pocket", compiled=True, rows=24, batch=16, max_length=300) as engine:
        trunk = engine.open("What is 12 + 34 - 5?", "p")
        asked = [
            Request(limit=n, key=n, temperature=(n % 3) / 2, top_p=1 - (n % 2) / 10, bias={n: 2.0} if n % 4 else {},
                    signals=Signals(hidden=(1,), top_logprobs=20) if n % 5 == 0 else Signals())
            for n in range(1, 400, 23)
        ]  # fmt: skip
        forks = [trunk.fork(len(trunk.ids)) for _ in asked]
        for i, fork in enumerate(forks):
            fork.extend(trunk.ids[: i % 7] * (i % 5))
        await asyncio.gather(*(fork.sample(request) for fork, request in zip(forks, asked, strict=True)))
        for fork in forks:
            fork.cut(len(fork.ids) // 2)
        await asyncio.gather(*(fork.sample(Request(limit=600, key=1)) for fork in forks))
        assert all(len(fork.ids) == engine.max_length for fork in forks)
    sys.stdout.write("engine sound\n")


if __name__ == "__main__":  # nothing before: pytest imports every file for its doctests
    kernel.FLAGS = (*kernel.FLAGS, "-g", "-O1", "-fsanitize=address", "-fno-omit-frame-pointer")
    torch.set_num_threads(2)
    sys.path.insert(0, str(Path(__file__).parents[3]))
    show_that_it_catches()
    asyncio.run(chains())
