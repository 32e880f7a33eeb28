"""Broken requests on every protocol: `python -m tests.gateway.fuzz --requests 100000`.

Each is a valid request with a few things changed: a field's value, type or name, a level missing or too many, fields of
other servers and of other protocols. Whatever comes: no status 500, no lost request, no traceback, an error in the form
of its protocol, and nothing left over.
"""

import argparse
import asyncio
import copy
import json
import logging
import random
import time
from collections import Counter
from typing import Any

import httpx
from tests.engines.servers import CLOSE, END, LoopbackServer
from tests.gateway.engines import scripted
from tests.gateway.serving import Served, local, served, upstream

from satisfice.catalog import build
from satisfice.gateway.fields import FIELDS
from satisfice.gateway.settings import Limits, Settings
from satisfice.gateway.thinking import SPELLINGS

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
USER = {"role": "user", "content": "12 + 34"}
VALID: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [
        {"messages": [USER]}, {"messages": [USER], "stream": True, "stream_options": {"include_usage": True}},
        {"messages": [USER, {"role": "assistant", "content": "46", "reasoning": "so"}, USER], "tools": [TOOL]},
        {"messages": [USER], "satisfice": {"policy": "cap:8"}, "n": 2, "stop": ["x"]},
    ],
    "/v1/completions": [{"prompt": "<think>"}, {"prompt": ["a", "b"], "max_tokens": 3}, {"prompt": [1, 2]}],
    "/v1/messages": [
        {"model": "toy", "max_tokens": 50, "messages": [USER]},
        {"model": "toy", "max_tokens": 50, "stream": True, "thinking": {"type": "enabled", "budget_tokens": 9},
         "messages": [{"role": "user", "content": [{"type": "text", "text": "1"}]}], "system": "s"},
    ],
    "/v1/messages/count_tokens": [{"model": "toy", "messages": [USER]}],
    "/v1/responses": [
        {"input": "1 + 1"}, {"input": [{"type": "message", "role": "user", "content": "1"}], "stream": True},
        {"input": "1", "reasoning": {"effort": "low"}, "text": {"format": {"type": "text"}}},
    ],
    "/api/chat": [{"model": "toy", "messages": [USER]}, {"messages": [USER], "stream": False, "think": "low"}],
    "/api/generate": [{"prompt": "1 + 1"}, {"prompt": "1", "stream": False, "options": {"num_predict": 4}}],
    "/api/show": [{"model": "toy"}],
    "/tokenize": [{"prompt": "a"}, {"messages": [USER]}],
    "/v1/embeddings": [{"input": "a"}],
}  # fmt: skip
WORDS = [
    *FIELDS, *(name.partition(".")[0] for name, _ in SPELLINGS), "satisfice", "messages", "prompt", "input", "model",
    "content", "role", "type", "text", "options", "format", "think", "system", "policy", "threshold", "sampler", "stop",
    "stream", "stream_options", "include", "include_reasoning", "tool_calls", "id", "\u0000", "", "__class__",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 7, 2**31, 2**63, -(2**70), 0.5, -0.0, 1e308, "", " ", "x", "deer", "full", "cap:3",
    "first-finish(n=2)", "\u0000", "\ud7ff", "<think>", "</think>", "a" * 3000, [], {}, [[]], [{}], ["x"], [None], [1],
    {"type": "text"}, {"type": "enabled"}, {"effort": "high"}, {"policy": "cap:4"}, {"policy": {"id": "deer"}},
    {"role": "tool", "content": "x"}, [{"type": "image_url", "image_url": {"url": "data:,"}}], [TOOL], {"a": {"b": []}},
    [{"role": "user", "content": [{"type": "text", "text": 5}]}], {"type": "json_schema", "json_schema": None},
]  # fmt: skip


def short(question: str, so_far: str) -> str:
    """A chain of six tokens and an answer of one."""
    whole = f"so 46 {CLOSE}46{END}"
    return whole[len(so_far) :] if whole.startswith(so_far) else (END if so_far.endswith("46") else "46" + END)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def broken(body: Any, dice: random.Random) -> Any:
    """Return a request with one to three things changed; mostly one."""
    body = copy.deepcopy(body)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        place = dice.choice(places(body))
        if not place:
            if isinstance(body, dict):
                body[dice.choice(WORDS)] = copy.deepcopy(dice.choice(VALUES))
            if dice.random() < 0.02:
                return copy.deepcopy(dice.choice(VALUES))
            continue
        at = body
        for key in place[:-1]:
            at = at[key]
        key, kind = place[-1], dice.randrange(6)
        if kind == 0:
            del at[key]
        elif kind == 1 and isinstance(at, dict):
            at[dice.choice(WORDS)] = at.pop(key)
        elif kind == 2:
            at[key] = [at[key]]
        elif kind == 3 and isinstance(at, list):
            at.append(copy.deepcopy(at[key]))
        else:
            at[key] = copy.deepcopy(dice.choice(VALUES))
    return body


class Heard(logging.Handler):
    """What the log says of faults of ours."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.faults: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.exc_info or "Traceback" in text or "never retrieved" in text:
            self.faults.append(text[-3000:])


async def throw(gateway: Served, requests: int, seed: int, at_once: int) -> tuple[Counter[str], list[str]]:
    """Send so many requests; the statuses, and what must not be."""
    seen, wrong, left = Counter[str](), list[str](), iter(range(requests))

    async def worker(client: httpx.AsyncClient) -> None:
        for number in left:
            dice = random.Random(f"{seed} {number}")
            path = dice.choice(list(VALID))
            body = broken(dice.choice(VALID[path]), dice)
            try:
                response = await client.post(path, json=body)
            except httpx.HTTPError as error:
                wrong.append(f"{number} {path} {json.dumps(body)[:600]}: {error!r}")
                continue
            seen[str(response.status_code)] += 1
            if fault := judged(path, response):
                wrong.append(f"{number} {path} {json.dumps(body)[:600]}: {fault}: {response.text[:300]}")

    limits = httpx.Limits(max_connections=at_once, keepalive_expiry=1)  # before the gateway closes an idle one
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=60, limits=limits) as client:
        await asyncio.gather(*(worker(client) for _ in range(at_once)))
    return seen, wrong


def judged(path: str, response: httpx.Response) -> str:
    """Return what is wrong with a response."""
    status, text = response.status_code, response.text
    if status >= 500:
        return f"status {status}"
    if any(sign in text for sign in ("Traceback", "pydantic", 'File "', "object at 0x")):
        return "it speaks of our inside"
    if status >= 400:
        row = response.json()
        if path.startswith("/v1/messages"):
            return "" if row.get("type") == "error" and row["error"]["message"] else "not Anthropic's error"
        if path.startswith("/api/"):
            return "" if isinstance(row.get("error"), str) else "not Ollama's error"
        return "" if "passed" in response.headers.get("x-satisfice", "") or row["error"]["message"] else "no message"
    if response.headers["content-type"].startswith("text/event-stream"):
        return "an error in the stream" if "upstream_failed" in text or "internal_error" in text else ""
    return ""


def fuzz(requests: int, *, seed: int = 0, at_once: int = 32) -> dict[str, Any]:
    """Throw half of the requests at a gateway over a server, and half at one over a model in its own process."""
    heard = Heard()
    logging.getLogger().addHandler(heard)
    settings = Settings(policy=build("first-cue"), limits=Limits(tokens=64, chains=4, at_once=256, at_once_per_key=256))
    seen, wrong, begin = Counter[str](), list[str](), time.monotonic()
    try:
        with LoopbackServer(short, extended=True, logprobs=False) as server:
            for sources in (lambda: upstream(server.url), lambda: local(scripted(lambda text, _: short("", text)))):
                with served(sources(), settings, name="toy") as gateway:
                    some, faults = asyncio.run(throw(gateway, requests // 2, seed, at_once))
                    seen, wrong = seen + some, wrong + faults
                    until = time.monotonic() + 10
                    while gateway.gateway.limiter.running and time.monotonic() < until:
                        time.sleep(0.05)
                    if gateway.gateway.limiter.running:
                        wrong.append(f"{gateway.gateway.limiter.running} requests still hold a place")
    finally:
        logging.getLogger().removeHandler(heard)
    return {
        "requests": seen.total(), "seconds": round(time.monotonic() - begin), "statuses": dict(sorted(seen.items())),
        "wrong": len(wrong), "tracebacks": len(heard.faults), "examples": (wrong + heard.faults)[:20],
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=32)
    options = parser.parse_args()
    found = fuzz(options.requests, seed=options.seed, at_once=options.at_once)
    print(json.dumps(found, indent=2, ensure_ascii=True))  # noqa: T201
    raise SystemExit(bool(found["wrong"] or found["tracebacks"]))
