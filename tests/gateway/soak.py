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

import httpx
from tests.engines.servers import END, LoopbackServer
from tests.gateway.serving import served, upstream

from satisfice.catalog import build
from satisfice.gateway.settings import Limits, Settings

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
    a, b = dice.randrange(1000, 2000), dice.randrange(1000, 2000)
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
    with LoopbackServer(echo, pause_s=0.002) as server, served(upstream(server.url), settings) as gateway:
        asyncio.run(crowd(gateway.url, clients, min(10.0, seconds / 3), seed=1))  # warm up
        forget(server)
        tasks, before = settled(gateway), memory_mb()
        seen: Counter[str] = Counter()
        memory = [before]
        for part in range(4):
            seen += asyncio.run(crowd(gateway.url, clients, seconds / 4, seed=2 + part))
            forget(server)
            memory.append(memory_mb())
        left = settled(gateway)
        until = time.monotonic() + 20
        while (server.now or gateway.gateway.door.running) and time.monotonic() < until:
            time.sleep(0.05)
        return {
            "clients": clients, "seconds": seconds, "requests": seen.total(), "right": seen["right"],
            "left": seen["left"],
            "others": {name: n for name, n in seen.items() if name not in ("right", "left")},
            "streams_at_the_upstream": server.now, "running": gateway.gateway.door.running,
            "tasks_before": tasks, "tasks_after": left, "memory_mb": [round(m, 1) for m in memory],
        }  # fmt: skip


def forget(server: LoopbackServer) -> None:
    """What the upstream of the test keeps for tests to look at, and grows with each request."""
    server.requests.clear()
    server.headers.clear()
    server._seen = set()


def settled(gateway: Any) -> int:
    """Tasks of the gateway once connections that were left are gone."""
    found = gateway.tasks()
    for _ in range(100):
        time.sleep(0.05)
        found = min(found, gateway.tasks())
    return int(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300)
    options = parser.parse_args()
    print(json.dumps(soak(options.clients, options.seconds), indent=2))  # noqa: T201
