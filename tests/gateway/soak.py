"""Many clients for minutes, of which a third leaves, while upstreams die: `python -m tests.gateway.soak --minutes 30`.

They speak all protocols and ask for different policies. Every answer must carry the numbers of its own question, and
afterwards nothing may be left: no stream at an upstream, no task, no place taken, no memory that grew with the number
of requests.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
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
    a, b, *_ = [*re.findall(r"\d+", question), "0", "0"]
    answer = f"{a} and {b}" + END
    thought, closed, said = so_far.partition("</think>")
    if closed:
        said = said.lstrip()
        return answer[len(said) :] if answer.startswith(said) else END
    whole = f"so {a} {b}\nWait, {b} {a}\nWait, {a} {b}\n"
    return whole[len(thought) :] + "</think>" + answer if whole.startswith(thought) else "</think>"


CHAT, TEXT, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
RESPONSES, OLLAMA = "/v1/responses", "/api/chat"
PROTOCOLS = (CHAT, TEXT, MESSAGES, RESPONSES, OLLAMA)


def request(path: str, question: str, policy: str, *, stream: bool) -> dict[str, Any]:
    """The question in a protocol."""
    messages = [{"role": "user", "content": question}]
    asked: dict[str, dict[str, Any]] = {
        CHAT: {"messages": messages}, OLLAMA: {"messages": messages}, RESPONSES: {"input": question},
        TEXT: {"prompt": f"<|user|>{question}<|assistant|><think>"},
        MESSAGES: {"model": "toy", "max_tokens": 1000, "messages": messages, "thinking": {"type": "adaptive"}},
    }  # fmt: skip
    return {**asked[path], "stream": stream, "satisfice": {"policy": policy}}


def texts(path: str, row: dict[str, Any]) -> tuple[str, str]:
    """The new thinking and the new answer in an event, or in a whole response."""
    if path == OLLAMA:
        return row["message"].get("thinking") or "", row["message"].get("content") or ""
    if path == MESSAGES:
        parts = [row.get("delta") or {}] if "content" not in row else row["content"]
        return "".join(part.get("thinking", "") for part in parts), "".join(part.get("text", "") for part in parts)
    if path == RESPONSES:
        if row.get("type", "").endswith(".delta"):
            return (row["delta"], "") if "reasoning" in row["type"] else ("", row["delta"])
        items = row.get("output") or []
        found = {kind: "".join(part["text"] for item in items if item["type"] == kind for part in item["content"])
                 for kind in ("reasoning", "message")}  # fmt: skip
        return found["reasoning"], found["message"]
    thinking = answer = ""
    for choice in row["choices"]:
        said = choice.get("delta") or choice.get("message") or {}
        thinking += said.get("reasoning") or ""
        answer += said.get("content") or choice.get("text") or ""
    return thinking, answer


async def read(path: str, response: httpx.Response, leaves_after: int | None) -> tuple[str, str] | None:
    """Thinking and answer of a response; None when the client leaves. `ValueError` for an error in a stream."""
    thinking, answer, count, ended = "", "", 0, False
    async for line in response.aiter_lines():
        count += 1
        if leaves_after is not None and count >= leaves_after:
            return None
        data = line.removeprefix("data: ") if path != OLLAMA else line
        ended |= data == "[DONE]" or '"message_stop"' in data or '"response.completed"' in data or '"done":true' in data
        if not data.startswith("{") or '"response.completed"' in data:
            continue
        row = json.loads(data)
        if row.get("error") or row.get("type") == "response.failed":
            raise ValueError(json.dumps(row)[:160])
        if path != RESPONSES or row.get("type", "").endswith("_text.delta"):
            new = texts(path, row)
            thinking, answer = thinking + new[0], answer + new[1]
    if not ended:
        raise ValueError("the stream ended before the answer did")
    return thinking, answer


async def one(client: httpx.AsyncClient, dice: random.Random, seen: Counter[str]) -> None:
    """A client that asks and reads, or leaves while it reads: a third of those who stream."""
    a, b = dice.randrange(100_000, 1_000_000), dice.randrange(100_000, 1_000_000)
    path, stream = dice.choice(PROTOCOLS), dice.random() < 0.8
    body = request(path, f"{a} + {b}", dice.choice(POLICIES), stream=stream)
    leaves_after = dice.randrange(1, 12) if stream and dice.random() < 0.4 else None
    async with client.stream("POST", path, json=body) as response:
        if response.status_code != 200:
            seen[f"status {response.status_code}: {(await response.aread()).decode()[:120]}"] += 1
            return
        try:
            if stream:
                said = await read(path, response, leaves_after)
            else:
                said = texts(path, json.loads(await response.aread()))
        except ValueError as error:
            seen[f"{path}: {error}"] += 1
            return
    if said is None:
        seen["left"] += 1
        return
    thinking, answer = said
    if path == TEXT:
        thinking, _, answer = answer.partition("</think>")
    own = set(re.findall(r"\d+", thinking)) <= {str(a), str(b)}
    right = own and bool(thinking) and answer.strip() == f"{a} and {b}"
    seen["right" if right else f"wrong: {path} {a} {b}: {thinking[-40:]!r} {answer[-40:]!r}"] += 1


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


@contextlib.contextmanager
def failing(servers: list[LoopbackServer], every_s: float) -> Iterator[list[int]]:
    """Kill one server after another and start it again, while the block runs; the list counts the deaths."""
    over, deaths = threading.Event(), [0]

    def run() -> None:
        while not over.wait(every_s):
            server = servers[deaths[0] % len(servers)]
            server.stop()
            deaths[0] += 1
            over.wait(every_s / 4)
            server.start()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield deaths
    finally:
        over.set()
        thread.join()


def memory_mb() -> float:
    """Resident memory of this process, which holds gateway, upstream and clients."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def soak(clients: int, seconds: float, *, deaths_every_s: float = 10.0) -> dict[str, Any]:
    """Run the crowd while upstreams die and come back, and say what came of it."""
    settings = Settings(policy=build("first-cue"), limits=Limits(at_once=2 * clients, at_once_per_key=2 * clients))
    with (
        patch.object(_words, "KNOWN", 4096),  # so that what is beyond is reached in minutes and not in days
        LoopbackServer(echo, pause_s=0.002) as first,
        LoopbackServer(echo, pause_s=0.002) as second,
        served(upstream(first.url, second.url), settings, name="toy") as gateway,
    ):
        servers = [first, second]
        asyncio.run(crowd(gateway.url, clients, min(10.0, seconds / 3), seed=1))  # warm up
        forget(servers)
        seen: Counter[str] = Counter()
        rests, deaths = [at_rest(gateway, servers)], 0
        for part in range(PARTS):
            with failing(servers, deaths_every_s) as died:
                seen += asyncio.run(crowd(gateway.url, clients, seconds / PARTS, seed=2 + part))
            deaths += died[0]
            forget(servers)
            rests.append(at_rest(gateway, servers))
        return {
            "clients": clients, "seconds": seconds, "deaths_of_upstreams": deaths, "requests": seen.total(),
            "right": seen["right"], "left": seen["left"],
            "others": {name: n for name, n in seen.most_common(40) if name not in ("right", "left")},
            **{name: [rest[name] for rest in rests] for name in rests[0]},
        }  # fmt: skip


def forget(servers: list[LoopbackServer]) -> None:
    """What the upstreams of the test keep for tests to look at, and grows with each request."""
    for server in servers:
        server.requests.clear()
        server.headers.clear()
        server._seen = set()


def at_rest(gateway: Any, servers: list[LoopbackServer]) -> dict[str, float]:
    """What is left once connections that were left are gone; before the first part and after each."""
    until = time.monotonic() + 20
    while (sum(s.now for s in servers) or gateway.gateway.limiter.running) and time.monotonic() < until:
        time.sleep(0.05)
    tasks = gateway.tasks()
    for _ in range(20):
        time.sleep(0.05)
        tasks = min(tasks, gateway.tasks())
    return {
        "tasks": tasks, "streams_at_upstreams": sum(server.now for server in servers),
        "running": gateway.gateway.limiter.running,
        "pieces_of_text": len(gateway.gateway.sources.first.engine.words._pieces), "memory_mb": round(memory_mb(), 1),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--deaths-every-s", type=float, default=10)
    options = parser.parse_args()
    found = soak(options.clients, 60 * options.minutes, deaths_every_s=options.deaths_every_s)
    print(json.dumps(found, indent=2))  # noqa: T201
    raise SystemExit(bool(found["others"]) or found["right"] == 0)
