"""What the gateway costs: `python benchmarks/gateway.py --json`.

Streams of the pocket reasoner are recorded; a paced server, a process of its own, replays them as vLLM would send them.
The same requests then go to it directly and through `satisfice serve`, in turns, so many at once:

- time to first token: quantiles through the gateway less quantiles directly;
- processor time of the gateway's process for each token that it passes on.

`--vllm` does without the paced server and serves the pocket reasoner by vLLM on this machine (`.venv-vllm`, which `make
test-vllm` installs): wall seconds of the same problems directly, through the gateway under `full`, and under a rule.
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
from satisfice.engines.local import LocalEngine, model_folder
from satisfice.tasks import load_task

VLLM = Path(__file__).parent.parent / ".venv-vllm" / "bin" / "vllm"
LIMIT = 512  # tokens a chain
END_THINKING, END = 4, 5  # tokens of the pocket reasoner


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=16, help="at once")
    parser.add_argument("--rounds", type=int, default=5, help="of as many requests as there are streams, each way")
    parser.add_argument("--first-ms", type=float, default=50.0, help="until the paced server's first token")
    parser.add_argument("--token-ms", type=float, default=20.0, help="between its tokens")
    parser.add_argument("--vllm", action="store_true", help="in front of vLLM in place of the paced server")
    parser.add_argument("--rule", default="deer(threshold=0.976)", help="what runs in front of vLLM besides full")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(Paced(json.loads(options.serve.read_text()), options).serve())
        return
    found = {"schema_version": 1, **(before_vllm(options) if options.vllm else paced(options)), "machine": machine()}
    print(json.dumps(found, indent=2) if options.json else "\n".join(f"{k}: {v}" for k, v in found.items()))


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    return {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version(), "load": LOAD}


LOAD = os.getloadavg()[0]


# The paced server


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


class Paced:
    """Speaks vLLM's completions and sends the recorded tokens at the pace of the clock, however slow a reader is."""

    def __init__(self, rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
        self.rows, self.options = {tuple(row["prompt"]): row for row in rows}, options
        self.lengths = sorted({len(row["prompt"]) for row in rows})

    async def serve(self) -> None:
        server = await asyncio.start_server(self.connection, "127.0.0.1", self.options.port)
        await server.serve_forever()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                size = 0
                while (row := (await reader.readline()).strip()) != b"":
                    if row.lower().startswith(b"content-length:"):
                        size = int(row.split(b":")[1])
                body = json.loads(await reader.readexactly(size) or b"{}")
                if b"/models" in line:
                    model = {"id": "pocket", "root": str(model_folder("pocket").resolve()), "max_model_len": 2048}
                    self.reply(writer, {"data": [model]})
                elif b"/completions" in line:
                    await self.complete(writer, body)
                else:
                    self.reply(writer, {}, 404)
        writer.close()

    def reply(self, writer: asyncio.StreamWriter, row: Any, status: int = 200) -> None:
        data = json.dumps(row).encode()
        writer.write(
            b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(data))
        )
        writer.write(data)

    async def complete(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        row, done = self.find(body["prompt"])
        known = row is not None
        any_row = next(iter(self.rows.values()))  # for whoever asks what this server can
        ids, texts = (
            (row["ids"][done:], row["texts"][done:]) if row else ([any_row["ids"][0], END], [any_row["texts"][0], ""])
        )
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        clock = asyncio.get_running_loop()
        due = clock.time() + (self.options.first_ms / 1000 if known and done == 0 else 0.0)
        sent, stops = 0, set(body.get("stop_token_ids") or [END])
        for token, text in zip(ids, texts, strict=True):
            if known:
                await asyncio.sleep(max(0.0, due - clock.time()))
                due += self.options.token_ms / 1000
            sent += 1
            over = "stop" if token in stops or token == END else "length" if sent >= body["max_tokens"] else None
            choice = {"index": 0, "text": text, "token_ids": [token], "finish_reason": over, "logprobs": None}
            if over == "stop":
                choice["stop_reason"] = token
            self.chunk(writer, b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
            if over:
                break
        told = {"prompt_tokens": len(body["prompt"]), "completion_tokens": sent}
        self.chunk(writer, b"data: " + json.dumps({"choices": [], "usage": told}).encode() + b"\n\n")
        self.chunk(writer, b"data: [DONE]\n\n")
        self.chunk(writer, b"")
        await writer.drain()

    def chunk(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    def find(self, prompt: list[int] | str) -> tuple[dict[str, Any] | None, int]:
        """The stream that a prompt stands in, and how many of its tokens are already in the prompt."""
        for n in self.lengths:
            if (row := self.rows.get(tuple(prompt[:n]))) is not None:
                return row, len(prompt) - n
        return None, 0


def paced(options: argparse.Namespace) -> dict[str, Any]:
    """Figures against the paced server."""
    rows = record(options.streams)
    direct: list[float] = []
    through: list[float] = []
    tokens, cpu = 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "streams.json"
        path.write_text(json.dumps(rows))
        pace = ["--first-ms", str(options.first_ms), "--token-ms", str(options.token_ms)]
        command = [sys.executable, __file__, "--serve", str(path), "--port", "{port}", *pace]
        with running(command, "/v1/models") as (upstream, _), gateway(upstream) as (address, process):
            ask_all(f"{address}/v1/chat/completions", rows, chat=True)  # warm up
            ask_all(f"{upstream}/v1/completions", rows, chat=False)
            for _ in range(options.rounds):
                direct += ask_all(f"{upstream}/v1/completions", rows, chat=False)
                before = cpu_seconds(process.pid)
                through += ask_all(f"{address}/v1/chat/completions", rows, chat=True)
                cpu += cpu_seconds(process.pid) - before
                tokens += sum(len(row["ids"]) for row in rows)
    added = {p: 1000 * (quantile(through, p) - quantile(direct, p)) for p in (0.5, 0.99)}
    return {
        "streams": options.streams, "requests": len(through), "tokens": tokens,
        "first_token_added_ms_p50": added[0.5], "first_token_added_ms_p99": added[0.99],
        "first_token_ms_p50": 1000 * quantile(through, 0.5), "first_token_direct_ms_p50": 1000 * quantile(direct, 0.5),
        "first_token_ms_p99": 1000 * quantile(through, 0.99),
        "first_token_direct_ms_p99": 1000 * quantile(direct, 0.99),
        "cpu_us_per_token": 1e6 * cpu / tokens, "token_ms": options.token_ms,
    }  # fmt: skip


def quantile(values: list[float], p: float) -> float:
    """Nearest rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(p * len(ranked)))]


# vLLM


def before_vllm(options: argparse.Namespace) -> dict[str, Any]:
    """Figures in front of vLLM: wall seconds and tokens, in turns."""
    rows = [{"question": problem.question} for problem in load_task("chain-sum:hard", limit=64).problems]
    ways: dict[str, list[tuple[float, int]]] = {"direct": [], "full": [], options.rule: []}
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(VLLM), "serve", str(model_folder("pocket").resolve()), "--served-model-name", "pocket",
            "--port", "{port}", "--max-model-len", "2048", "--dtype", "float32", "--generation-config", "vllm",
        ]  # fmt: skip
        settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
        log = Path(folder) / "vllm.log"
        with (
            running(command, "/health", wait_s=400, log=log, **settings) as (upstream, _),
            gateway(f"{upstream}?connections={options.streams * 4}") as (address, _),
        ):
            chat = {"max_tokens": LIMIT, "temperature": 1.1, "top_p": 1.0}
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
                "model": "pocket", "messages": [{"role": "user", "content": row["question"]}], **fields,
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


def ask_all(address: str, rows: list[dict[str, Any]], *, chat: bool) -> list[float]:
    """Seconds to the first token of each row, all at once; raises when an answer is not the recorded one."""

    async def one(row: dict[str, Any]) -> float:
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

    async def every() -> list[float]:
        return await asyncio.gather(*(one(row) for row in rows))

    return asyncio.run(every())


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
    code = "import sys; from satisfice.cli import main; sys.argv[0] = 'satisfice'; main()"
    command = [sys.executable, "-c", code, "serve", "--upstream", upstream, "--port", "{port}"]
    with running(command, "/readyz") as found:
        yield found


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
            filled, stdout=out, stderr=out if log else None, start_new_session=True, env={**os.environ, **variables}
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
