"""What the gateway costs: `python benchmarks/gateway.py --json`.

Streams of the pocket reasoner are recorded; a paced server, a process of its own, replays them as vLLM would send them.
The same requests then go to it directly and through `satisfice serve`, in turns, so many at once:

- time to first token: quantiles through the gateway less quantiles directly, of requests that come one after another
  while the other streams run, and (`together`) of as many that come in the same instant;
- processor time of the gateway's process for each token that it passes on, and, as a measure of what the machine asks
  for that in this hour, of a process in its place that only copies bytes (`floor_us_per_token`, `copying.py`).

`--vllm` does without the paced server and serves a model by vLLM on this machine (`.venv-vllm`, which `make test-vllm`
installs): wall seconds of the same problems directly, through the gateway under `full`, and under a rule. All three
share the machine's cores: with the pocket reasoner a token costs vLLM hardly more than it costs the gateway, which is
the worst case there can be; `--model smollm2 --dtype bfloat16` is the smallest real one.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from satisfice.catalog import build
from satisfice.core.problem import Problem
from satisfice.core.session import Session, solve
from satisfice.engines.local.engine import LocalEngine
from satisfice.models.resolve import model_folder
from satisfice.tasks import load_task

VLLM = Path(__file__).parent.parent / ".venv-vllm" / "bin" / "python"
LIMIT = 512  # tokens per chain
EACH = 3  # requests that a stream makes one after another, in a round


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=16, help="at once")
    parser.add_argument("--rounds", type=int, default=3, help="each way")
    parser.add_argument("--first-ms", type=float, default=50.0, help="until the paced server's first token")
    parser.add_argument("--token-ms", type=float, default=20.0, help="between its tokens")
    parser.add_argument("--apart", action="store_true", help="each of its streams by its own clock, not in step")
    parser.add_argument("--vllm", action="store_true", help="in front of vLLM in place of the paced server")
    parser.add_argument("--model", default="pocket", help="that vLLM serves: pocket, smollm2 or a folder")
    parser.add_argument("--dtype", default="float32", help="in which vLLM runs it")
    parser.add_argument("--temperature", type=float, default=1.1, help="at which vLLM samples")
    parser.add_argument("--max-tokens", type=int, default=LIMIT, help="an answer of vLLM's")
    parser.add_argument("--task", default="chain-sum:hard", help="whose problems vLLM is asked")
    parser.add_argument("--problems", type=int, default=64, help="in front of vLLM, each way in each round")
    parser.add_argument("--rule", default="deer(threshold=0.976)", help="what runs in front of vLLM besides full")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    found = {"schema_version": 1, **(before_vllm(options) if options.vllm else paced(options)), "machine": machine()}
    print(json.dumps(found, indent=2) if options.json else "\n".join(f"{k}: {v}" for k, v in found.items()))


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    return {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version(), "load": LOAD}


LOAD = os.getloadavg()[0]


# Before the paced server


def record(count: int) -> list[dict[str, Any]]:
    """Prompts and what the pocket reasoner makes of them, as tokens."""
    problems = load_task("chain-sum:hard", limit=count).problems

    async def one(engine: LocalEngine, problem: Problem) -> dict[str, Any]:
        solution = await solve(build("full"), Session(engine, problem, chain_limit=LIMIT))
        ids = [i for span in solution.spans[1:] for i in span.ids]
        prompt = list(solution.spans[0].ids)
        return {"question": problem.question, "prompt": prompt, "ids": ids, "texts": [engine.decode([i]) for i in ids]}

    async def every() -> list[dict[str, Any]]:
        async with LocalEngine() as engine:
            return await asyncio.gather(*(one(engine, problem) for problem in problems))

    return asyncio.run(every())


def paced(options: argparse.Namespace) -> dict[str, Any]:
    """Figures against the paced server."""
    rows = record(options.streams * EACH)
    first: dict[str, list[float]] = {name: [] for name in ("direct", "through", "direct together", "through together")}
    tokens, cpu, copied, floor = 0, 0.0, 0, 0.0
    spread_s = statistics.mean(len(row["ids"]) for row in rows) * options.token_ms / 1000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "streams.json"
        path.write_text(json.dumps({"root": str(model_folder("pocket").resolve()), "rows": rows}))
        pace = ["--first-ms", str(options.first_ms), "--token-ms", str(options.token_ms)]
        pace += ["--apart"] if options.apart else []
        command = [sys.executable, str(Path(__file__).parent / "paced.py"), str(path), "--port", "{port}", *pace]
        with (
            running(command, "/v1/models") as (upstream, _),
            gateway(upstream) as (address, process),
            running(copying(upstream), "/v1/models") as (copy, copier),
        ):
            ways = {
                "direct": (f"{upstream}/v1/completions", False),
                "through": (f"{address}/v1/chat/completions", True),
            }
            for turn in range(options.rounds + 1):  # the first warms up
                for name, (where, chat) in ways.items():
                    before = cpu_seconds(process.pid)
                    together = asyncio.run(ask_all(where, rows[: options.streams], options.streams, 0.0, chat=chat))
                    after_another = (
                        asyncio.run(ask_all(where, rows, options.streams, spread_s, chat=chat)) if turn else []
                    )
                    if turn:
                        first[name] += after_another
                        first[f"{name} together"] += together
                        cpu += (cpu_seconds(process.pid) - before) * chat
                        tokens += sum(len(row["ids"]) for row in (*rows[: options.streams], *rows)) * chat
                before = cpu_seconds(copier.pid)
                asyncio.run(
                    ask_all(f"{copy}/v1/completions", rows[: options.streams], options.streams, 0.0, chat=False)
                )
                if turn:
                    floor += cpu_seconds(copier.pid) - before
                    copied += sum(len(row["ids"]) for row in rows[: options.streams])
    figures: dict[str, Any] = {"streams": options.streams, "requests": len(first["through"]), "tokens": tokens}
    for more in ("", " together"):
        for p in (50, 99):
            through, direct = (1000 * quantile(first[way + more], p / 100) for way in ("through", "direct"))
            name = f"first_token{more.replace(' ', '_')}"
            figures |= {f"{name}_added_ms_p{p}": through - direct, f"{name}_direct_ms_p{p}": direct}
    figures |= {"cpu_us_per_token": 1e6 * cpu / tokens, "floor_us_per_token": 1e6 * floor / copied}
    return {**figures, "token_ms": options.token_ms, "apart": options.apart}


def quantile(values: list[float], p: float) -> float:
    """Nearest rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(p * len(ranked)))]


# vLLM


def before_vllm(options: argparse.Namespace) -> dict[str, Any]:
    """Figures in front of vLLM: wall seconds and tokens, in turns."""
    rows = [{"question": problem.question} for problem in load_task(options.task, limit=options.problems).problems]
    ways: dict[str, list[tuple[float, int]]] = {"direct": [], "full": [], options.rule: []}
    model = str(model_folder(options.model).resolve())
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(VLLM), "-m", "vllm.entrypoints.openai.api_server", "--model", model,
            "--served-model-name", "served", "--port", "{port}", "--max-model-len", "2048", "--dtype", options.dtype,
            "--generation-config", "vllm", "--enforce-eager",
        ]  # fmt: skip
        settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
        log = Path(folder) / "vllm.log"
        with (
            running(command, "/health", wait_s=600, log=log, **settings) as (upstream, _),
            gateway(f"{upstream}?connections={options.streams * 4}") as (address, _),
        ):
            chat = {"max_tokens": options.max_tokens, "temperature": options.temperature, "top_p": 1.0}
            for turn in range(options.rounds + 1):  # the first warms up
                for name in ways:
                    where = upstream if name == "direct" else address
                    extra = {} if name == "direct" else {"satisfice": {"policy": name}}
                    fields = {**chat, **extra, "seed": turn}
                    got = timed(f"{where}/v1/chat/completions", rows, options.streams, fields)
                    if turn:
                        ways[name].append(got)
    full = statistics.median(wall for wall, _ in ways["full"])
    spent = statistics.median(tokens for _, tokens in ways["full"])

    def ratio(name: str, to: str, at: int) -> float:
        return statistics.median(a[at] / b[at] for a, b in zip(ways[name], ways[to], strict=True))

    return {
        "problems": len(rows), "streams": options.streams, "rounds": options.rounds, "full_s": full,
        "full_tokens": spent,
        "full_per_token_over_direct": statistics.median(
            (a[0] / a[1]) / (b[0] / b[1]) for a, b in zip(ways["full"], ways["direct"], strict=True)
        ),
        "full_over_direct": ratio("full", "direct", 0), "full_over_direct_tokens": ratio("full", "direct", 1),
        "rule": options.rule, "rule_wall_saving": 1 - ratio(options.rule, "full", 0),
        "rule_token_saving": 1 - ratio(options.rule, "full", 1),
        "rounds_s": {name: [round(wall, 3) for wall, _ in got] for name, got in ways.items()},
    }  # fmt: skip


def timed(address: str, rows: list[dict[str, Any]], streams: int, fields: dict[str, Any]) -> tuple[float, int]:
    """Wall seconds for all rows, so many at once, and the tokens that were sampled."""
    waiting, tokens = iter(rows), 0

    async def worker() -> None:
        nonlocal tokens
        for row in waiting:
            usage: dict[str, int] = {}
            body = {
                "model": "served", "messages": [{"role": "user", "content": row["question"]}], **fields,
                "stream": True, "stream_options": {"include_usage": True},
            }  # fmt: skip
            async for event in stream(address, body):
                usage = event.get("usage") or usage
            tokens += usage["completion_tokens"]

    async def every() -> None:
        await asyncio.gather(*(worker() for _ in range(streams)))

    begin = time.perf_counter()
    asyncio.run(every())
    return time.perf_counter() - begin, tokens


# Clients and processes


async def ask_all(
    address: str, rows: list[dict[str, Any]], streams: int, spread_s: float, *, chat: bool
) -> list[float]:
    """Seconds to the first token of each row, so many streams at once, which begin spread over some seconds."""
    waiting, found = iter(rows), list[float]()

    async def worker(number: int) -> None:
        await asyncio.sleep(number * spread_s / streams)
        for row in waiting:
            found.append(await first_token(address, row, chat=chat))

    await asyncio.gather(*(worker(number) for number in range(streams)))
    return found


async def first_token(address: str, row: dict[str, Any], *, chat: bool) -> float:
    """Seconds to the first token; raises when the answer is not the recorded one."""
    body: dict[str, Any] = {"model": "pocket", "max_tokens": LIMIT, "stream": True}
    body |= {"messages": [{"role": "user", "content": row["question"]}]} if chat else {"prompt": row["prompt"]}
    begin, first, text = time.perf_counter(), None, ""
    async for event in stream(address, body):
        for choice in event["choices"]:
            said = choice.get("delta") or {"content": choice.get("text", "")}
            new = (said.get("reasoning") or "") + (said.get("content") or "")
            if new and first is None:
                first = time.perf_counter() - begin
            text += new
    recorded = "".join(text for text in row["texts"] if not (chat and text == "</think>")).removesuffix("<|end|>")
    if first is None or "".join(text.removesuffix("<|end|>").split()) != "".join(recorded.split()):
        raise RuntimeError(f"wrong answer: {text!r} in place of {recorded!r}")
    return first


async def stream(address: str, body: dict[str, Any]) -> Any:
    """The events of a streamed answer, with as little between as there can be."""
    host, _, path = address.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    data = json.dumps(body).encode()
    head = f"POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {len(data)}"
    writer.write(head.encode() + b"\r\n\r\n" + data)
    try:
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError((status + await reader.read(2000)).decode())
        while (line := await reader.readline()) and line.strip() != b"data: [DONE]":
            if line.startswith(b"data: "):
                yield json.loads(line[6:])
    finally:
        writer.close()


@contextlib.contextmanager
def gateway(upstream: str) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """`satisfice serve` before an upstream."""
    code = "import sys; from satisfice.cli.main import main; sys.argv[0] = 'satisfice'; main()"
    command = [sys.executable, "-c", code, "serve", "--upstream", upstream, "--port", "{port}"]
    with running(command, "/readyz", wait_s=400) as found:
        yield found


def copying(upstream: str) -> list[str]:
    """The command that copies bytes before an upstream."""
    return [sys.executable, str(Path(__file__).parent / "copying.py"), upstream.rpartition(":")[2], "--port", "{port}"]


@contextlib.contextmanager
def running(
    command: list[str], health: str, *, wait_s: float = 120, log: Path | None = None, **variables: str
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A server on a free port until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    filled, base = [part.replace("{port}", str(port)) for part in command], f"http://127.0.0.1:{port}"
    with (log or Path(os.devnull)).open("wb") as out:
        process = subprocess.Popen(
            filled, stdout=out, stderr=out if log else None, process_group=0, env={**os.environ, **variables}
        )
        try:
            until = time.monotonic() + wait_s
            while not answers(base + health):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{filled[0]} did not come up: {log.read_text()[-2000:] if log else ''}")
                time.sleep(0.2)
            yield base, process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def answers(address: str) -> bool:
    """Whether somebody says 200 there."""
    try:
        with urllib.request.urlopen(address, timeout=2) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
