"""Many clients for minutes, some of which leave: `python -m tests.gateway.soak --clients 200 --seconds 300`.

Every answer must carry the numbers of its own question, and afterwards nothing may be left: no stream at the upstream,
no task, no place taken, no memory that grew with the number of requests.
"""

import argparse
import asyncio
import gc
import json
import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from tests.engines.servers import END, LoopbackServer
from tests.gateway.serving import served, upstream

from satisfice.catalog import build
from satisfice.gateway.settings import Limits, Settings
from satisfice.models import words as _words

PARTS = 5
POLICIES = ("full", "first-cue", "first-finish(n=2)", "cap:6")


def echo(question: str, so_far: str) -> str:
    """Thinks about the two numbers of its question, and answers with both."""
    a, b = re.findall(r"\d+", question)[:2]
    answer = f"{a} and {b}" + END
    thought, closed, said = so_far.partition("</think>")
    if closed:
        said = said.lstrip()
        return answer[len(said) :] if answer.startswith(said) else END
    whole = f"so {a} {b}\nWait, {b} {a}\nWait, {a} {b}\n"
    return whole[len(thought) :] + "</think>" + answer if whole.startswith(thought) else "</think>"


async def one(client: httpx.AsyncClient, dice: random.Random, seen: Counter[str]) -> None:
    """A client that asks and reads, or leaves while it reads."""
    a, b = dice.randrange(100_000, 1_000_000), dice.randrange(100_000, 1_000_000)
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": f"{a} + {b}"}], "stream": True,
        "satisfice": {"policy": dice.choice(POLICIES)},
    }  # fmt: skip
    leaves_after = dice.randrange(1, 12) if dice.random() < 0.3 else None
    thinking, answer, ended = "", "", False
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.status_code != 200:
            seen[f"status {response.status_code}"] += 1
            return
        count = 0
        async for line in response.aiter_lines():
            count += 1
            if leaves_after is not None and count >= leaves_after:
                seen["left"] += 1
                return
            ended |= line == "data: [DONE]"
            if line.startswith("data: {"):
                row = json.loads(line[6:])
                if "error" in row:
                    seen["error " + row["error"]["message"][:80]] += 1
                    return
                for choice in row["choices"]:
                    thinking += choice["delta"].get("reasoning") or ""
                    answer += choice["delta"].get("content") or ""
    own = set(re.findall(r"\d+", thinking)) <= {str(a), str(b)}
    right = ended and own and answer == f"{a} and {b}"
    seen["right" if right else f"wrong: {a} {b}: {thinking[-40:]!r} {answer[-40:]!r}"] += 1


async def crowd(address: str, clients: int, seconds: float, seed: int = 0) -> Counter[str]:
    """So many clients, one request after another, until the time is over."""
    seen: Counter[str] = Counter()
    until = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=None)

    async def worker(number: int) -> None:
        dice = random.Random(f"{seed} {number}")
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=120, limits=limits) as client:
            while time.monotonic() < until:
                await one(client, dice, seen)

    await asyncio.gather(*(worker(i) for i in range(clients)))
    return seen


def memory_mb() -> float:
    """Resident memory of this process, which holds gateway, upstream and clients."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def soak(clients: int, seconds: float) -> dict[str, Any]:
    """Run the crowd and say what came of it."""
    settings = Settings(policy=build("first-cue"), limits=Limits(at_once=2 * clients, at_once_per_key=2 * clients))
    with (
        patch.object(_words, "KNOWN", 4096),  # so that what is beyond is reached in minutes and not in days
        LoopbackServer(echo, pause_s=0.002) as server,
        served(upstream(server.url), settings) as gateway,
    ):
        asyncio.run(crowd(gateway.url, clients, min(10.0, seconds / 3), seed=1))  # warm up
        forget(server)
        seen: Counter[str] = Counter()
        rests = [at_rest(gateway, server)]
        for part in range(PARTS):
            seen += asyncio.run(crowd(gateway.url, clients, seconds / PARTS, seed=2 + part))
            forget(server)
            rests.append(at_rest(gateway, server))
        return {
            "clients": clients, "seconds": seconds, "requests": seen.total(), "right": seen["right"],
            "left": seen["left"],
            "others": {name: n for name, n in seen.items() if name not in ("right", "left")},
            **{name: [rest[name] for rest in rests] for name in rests[0]},
        }  # fmt: skip


def forget(server: LoopbackServer) -> None:
    """What the upstream of the test keeps for tests to look at, and grows with each request."""
    server.requests.clear()
    server.headers.clear()
    server._seen = set()


def at_rest(gateway: Any, server: LoopbackServer) -> dict[str, float]:
    """What is left once connections that were left are gone; before the first part and after each."""
    until = time.monotonic() + 20
    while (server.now or gateway.gateway.limiter.running) and time.monotonic() < until:
        time.sleep(0.05)
    tasks = gateway.tasks()
    for _ in range(20):
        time.sleep(0.05)
        tasks = min(tasks, gateway.tasks())
    return {
        "tasks": tasks, "streams_at_the_upstream": server.now, "running": gateway.gateway.limiter.running,
        "pieces_of_text": len(gateway.gateway.sources.first.engine.words._pieces), "memory_mb": round(memory_mb(), 1),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300)
    options = parser.parse_args()
    print(json.dumps(soak(options.clients, options.seconds), indent=2))  # noqa: T201
