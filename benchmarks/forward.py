"""What the forward pass written out for Llama-like models is worth beside transformers' own modules, through torch.

`python benchmarks/forward.py --model pocket` samples the same chains through both, by turns, and gives the ratio of
processor seconds (modules / written out), median over the rounds with a bootstrap interval. The compiled kernel is off:
it is what most machines run, and where it cannot (no compiler, bfloat16, a GPU) this pass does the work.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from contextlib import AsyncExitStack
from unittest.mock import patch

import torch

from satisfice.core.engine import Request
from satisfice.engines.local import forward
from satisfice.engines.local.engine import LocalEngine
from satisfice.tasks import load_task


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--chains", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=96, help="of each chain")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(asyncio.run(measure(args)), indent=1))


async def measure(args: argparse.Namespace) -> dict[str, object]:
    """Seconds of each round by way, the median ratio, and 95 % of its bootstrap draws."""
    written = LocalEngine(args.model, rows=args.chains + 8, batch=args.chains, compiled=False)
    with patch.object(forward, "fits", lambda model: False):
        modules = LocalEngine(args.model, rows=args.chains + 8, batch=args.chains, compiled=False)
    engines = {"written": written, "modules": modules}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    async with AsyncExitStack() as stack:
        for engine in engines.values():
            await stack.enter_async_context(engine)
        for round_ in range(args.rounds + 1):
            for name in sorted(engines, reverse=bool(round_ % 2)):
                begin = time.process_time()
                await sample(engines[name], args.chains, args.tokens)
                if round_:  # the first warms up
                    seconds[name].append(time.process_time() - begin)
    ratios = [slow / quick for slow, quick in zip(seconds["modules"], seconds["written"], strict=True)]
    rng = random.Random(0)
    draws = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    return {**vars(args), "seconds": seconds, "ratio": statistics.median(ratios), "low": draws[50], "high": draws[1949]}


async def sample(engine: LocalEngine, chains: int, tokens: int) -> None:
    """Sample so many tokens of so many chains at once, whatever they say."""

    async def one(number: int, question: str) -> None:
        sequence = engine.open(question, str(number))
        try:
            await sequence.sample(Request(limit=tokens, key=number, temperature=1.0))
        finally:
            sequence.close()

    problems = load_task("chain-sum:hard", limit=chains).problems
    await asyncio.gather(*(one(number, problem.question) for number, problem in enumerate(problems)))


if __name__ == "__main__":
    main()
