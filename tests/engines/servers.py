"""A small but real OpenAI-compatible server on a loopback socket that misbehaves on cue; and others' real servers."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STANDARD = frozenset(
    {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stream", "logprobs", "logit_bias"}
)
PIECES = re.compile(r"<[^<>]*>|\w+|\s|.", re.DOTALL)
OPEN, CLOSE = "<think>", "</think>"
END = "<|end|>"


def steps_script(question: str, so_far: str) -> str:
    """A chain that thinks in short steps and answers 46; closed early it answers at once."""
    full = "12+34=46 so 46\nWait, 46-34=12 yes\nWait, once more so 46</think>46" + END
    return full[len(so_far) :] if full.startswith(so_far) else ("46" + END if not so_far.endswith("46") else END)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request for a completion, after `after` tokens of it."""

    kind: str  # status, refuse, cut, hang, garbage, no_json, error, few_top, no_logprobs, plain, length, strange
    after: int = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "try later"


class LoopbackServer:
    """Serves a script token by token. `faults` go wrong first, one request each; then all is well.

    With a tokenizer it speaks like vLLM: token ids in and out, stop texts shown, special tokens shown. Without one it
    is a plain server that knows text. `extended=False` refuses what OpenAI's interface does not have, as some do.
    """

    def __init__(
        self, script: Callable[[str, str], str] = steps_script, *, tokenizer: Any = None, extended: bool | None = None,
        logprobs: bool = True, top: int = 20, honest: bool = True, stops: bool = True, cached: bool = True,
        form: bool = True, usage: bool = True, key: str = "", pause_s: float = 0.0, models: tuple[str, ...] = ("toy",),
        budget: str = "", lists: bool = True, burst: int = 1, chokes_on: str = "", leaves: bool = False,
        chat_logprobs: bool = False, slot: int | None = None, form_end: str = OPEN, special: bool = False,
        strips: bool = False, wraps: bool = False, opens: str = OPEN, end: str = END,
    ) -> None:  # fmt: skip
        self.script, self.tokenizer = script, tokenizer
        self.extended = tokenizer is not None if extended is None else extended
        self.logprobs, self.top, self.honest, self.stops, self.cached = logprobs, top, honest, stops, cached
        self.form, self.usage, self.key, self.pause_s, self.models = form, usage, key, pause_s, models
        self.chokes_on = chokes_on  # a field that it accepts and then breaks off over
        self.leaves = leaves  # it announces to keep a connection and is gone when that is used again
        self.chat_logprobs = chat_logprobs  # log-probabilities come in the form of chat completions
        self.slot = slot  # its context, told at /props alone, and where it cuts an answer off
        self.form_end = form_end  # what its chat form ends in
        self.special = special  # it shows the end of the turn as text
        self.strips = strips  # it leaves special tokens out of what it sends, and goes on with a text that repeats
        self.opens, self.end = opens, end  # the tag behind which the script goes on; the token that ends a turn
        self.wraps = wraps  # it puts prompts of completions into its chat form
        self.burst = burst  # tokens whose text is sent together
        self.lists = lists  # its list of models; without it asking for one fails
        self.budget = budget  # the field of a thinking budget that it obeys; it ignores all others
        self.faults: deque[Fault] = deque()
        self.requests: list[dict[str, Any]] = []  # bodies of completions
        self.headers: list[dict[str, str]] = []
        self.sent = 0  # tokens that were computed
        self.hung_up = 0  # streams that the client closed before their end
        self.now = self.most = 0  # streams at once: now, and at most so far
        self.connections = 0
        self.queue_s = 0.0  # before the first token
        self.root: str | None = None
        self._seen: set[tuple[Any, ...]] = set()
        self._port = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    # Life

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> "LoopbackServer":
        ready = threading.Event()

        def run() -> None:
            self._loop = asyncio.new_event_loop()
            self._loop.run_until_complete(self._serve(ready))
            self._loop.close()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def stop(self) -> None:
        """Die: no farewell to anybody. `start` brings it back at the same address."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(10)

    def __enter__(self) -> "LoopbackServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self.stop()

    async def _serve(self, ready: threading.Event) -> None:
        self._ending = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self._port)
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._ending.wait()
        server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    # HTTP

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        streams = 0
        try:
            while line := (await reader.readline()).decode():
                method, path, _ = line.split()
                headers = {}
                while (row := (await reader.readline()).decode().strip()) != "":
                    name, value = row.split(":", 1)
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                streams += path == "/v1/completions"
                if self.leaves and streams > 1:
                    writer.transport.abort()
                    break
                if not await self._route(method, path, headers, json.loads(body or b"{}"), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # gone, or the server dies
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(Exception):
                await writer.wait_closed()

    async def _route(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, Any],
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    ) -> bool:  # fmt: skip
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            told = headers.get("authorization", "nothing")
            return await _reply(writer, 401, {"error": {"message": f"Incorrect API key provided: {told}"}})
        if path == "/v1/models" and not self.lists:
            return await _reply(writer, 500, {"detail": "Internal Server Error"})
        if path == "/v1/models":
            more = {} if self.slot else {"max_model_len": 4096}
            rows = [{"id": name, "root": self.root or name, **more} for name in self.models]
            return await _reply(writer, 200, {"data": rows})
        if path == "/apply-template" and self.form and self.tokenizer is None:
            said = "".join(f"<|{message['role']}|>{message.get('content') or ''}" for message in body["messages"])
            return await _reply(writer, 200, {"prompt": f"{said}<|assistant|>{self.form_end}"})
        if path == "/props" and self.slot:
            return await _reply(writer, 200, {"default_generation_settings": {"n_ctx": self.slot}})
        if path == "/v1/completions":
            self.requests.append(body)
            self.headers.append(headers)
            return await self._complete(body, reader, writer)
        return await _reply(writer, 404, {"detail": "Not Found"})

    # Completions

    async def _complete(self, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        fault = self.faults.popleft() if self.faults else Fault("none")
        if not self.extended and (strange := body.keys() - STANDARD):
            return await _reply(writer, 422, {"detail": f"Unexpected fields: {sorted(strange)}"})
        if isinstance(body["prompt"], list) and self.tokenizer is None:
            return await _reply(writer, 400, {"detail": "prompt must be a string."})
        for name in ("logprobs", "max_tokens", "seed"):
            if not isinstance(body.get(name) or 0, int):
                return await _reply(writer, 400, {"error": {"message": f"{name} must be a whole number"}})
        if (body.get("logprobs") or 0) > self.top:
            return await _reply(writer, 400, {"error": {"message": f"logprobs must be at most {self.top}"}})
        if fault.kind == "status":
            return await _reply(writer, fault.status, {"error": {"message": fault.message}}, fault.headers)
        if fault.kind == "refuse":
            writer.transport.abort()
            return False
        if fault.kind == "plain":
            return await _reply(writer, 200, {"choices": [{"text": "46"}]})
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        if self.chokes_on and self.chokes_on in body:
            await _event(writer, {"error": {"message": f"{self.chokes_on} is set but not configured", "code": 400}})
            await _chunk(writer, b"")
            return True
        self.now += 1
        self.most = max(self.most, self.now)
        gone = asyncio.create_task(reader.read(1))
        try:
            return await self._stream(body, fault, writer, gone)
        finally:
            self.now -= 1
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await gone

    async def _stream(
        self, body: dict[str, Any], fault: Fault, writer: asyncio.StreamWriter, gone: "asyncio.Task[bytes]"
    ) -> bool:
        prompt = body["prompt"] if isinstance(body["prompt"], str) else self.tokenizer.decode(body["prompt"])
        if self.wraps:
            prompt = body["prompt"] = f"<|user|>{prompt}<|assistant|>{OPEN}"
        question, _, so_far = prompt.partition(self.opens)
        repeats = re.fullmatch(r"(.+?)\1{5,}", prompt, re.DOTALL) if self.strips else None
        tokens = self._tokens(prompt if self.tokenizer is None else body["prompt"])
        cached, self._seen = self._look_up(tokens), self._seen | {tuple(tokens[: n + 1]) for n in range(len(tokens))}
        text, waiting, finish, count = "", "", "length", 0
        await asyncio.sleep(self.queue_s)
        most = min(body["max_tokens"], (self.slot or 1 << 30) - len(tokens))
        while count < most:
            if gone.done():
                self.hung_up += 1
                return False
            if fault.kind != "none" and count == fault.after and (ended := await self._fail(fault, writer)) is not None:
                return ended
            rest = CLOSE if self._must_close(body, so_far + text) else self.script(question, so_far + text)
            rest = (100 * repeats[1])[len(text) :] if repeats else rest
            token = self._tokens(rest or self.end)[0]
            piece = token if self.tokenizer is None else self.tokenizer.decode([token])
            count, self.sent, text = count + 1, self.sent + 1, text + piece
            ended_turn = piece == self.end
            stopped = next((s for s in body.get("stop", ()) if s in text), None) if self.stops else None
            if ended_turn or token in body.get("stop_token_ids", ()) or stopped:
                finish = "stop"
            hide = ended_turn or (finish == "stop" and not stopped and not body.get("include_stop_str_in_output"))
            hide = (hide and not (ended_turn and self.special)) or (self.strips and piece.startswith("<"))
            choice: dict[str, Any] = {"index": 0, "text": "" if hide else piece, "finish_reason": None}
            if stopped and not body.get("include_stop_str_in_output"):
                choice["text"] = ""
            if finish == "stop" or count == most:
                choice["finish_reason"] = finish
            if stopped:
                choice["stop_reason"] = stopped
            if body.get("return_token_ids") and self.tokenizer is not None:
                choice |= {"token_ids": [token]} | ({"prompt_token_ids": tokens} if count == 1 else {})
            if body.get("logprobs") and self.logprobs and fault.kind != "no_logprobs":
                choice["logprobs"] = self._told(body, token, piece, few=fault.kind == "few_top")
            waiting += choice["text"]
            if count % self.burst == 0 or choice["finish_reason"]:
                await _event(writer, {"choices": [{**choice, "text": waiting}]})
                waiting = ""
            await asyncio.sleep(self.pause_s)
            if finish == "stop":
                break
        if self.usage:
            usage: dict[str, Any] = {"prompt_tokens": len(tokens), "completion_tokens": count}
            if self.cached:
                usage["prompt_tokens_details"] = {"cached_tokens": cached}
            await _event(writer, {"choices": [], "usage": usage})
        await _chunk(writer, b"data: [DONE]\n\n")
        await _chunk(writer, b"")
        return True

    def _tokens(self, given: Any) -> list[Any]:
        if isinstance(given, list):
            return given
        return (
            PIECES.findall(given) if self.tokenizer is None else self.tokenizer.encode(given, add_special_tokens=False)
        )

    def _must_close(self, body: dict[str, Any], thinking: str) -> bool:
        told = {**body, **body.get("custom_params", {})}.get(self.budget) if self.budget else None
        return told is not None and CLOSE not in thinking and len(self._tokens(thinking)) >= told

    def _look_up(self, tokens: list[Any]) -> int:
        """Blocks of 16 tokens that an earlier request began with."""
        return max((n for n in range(0, len(tokens), 16) if n and tuple(tokens[:n]) in self._seen), default=0)

    def _told(self, body: dict[str, Any], token: Any, piece: str, *, few: bool) -> dict[str, Any]:
        heat = 1.0 if self.honest else body["temperature"] or 1.0
        by_id = body.get("return_tokens_as_token_ids")

        def name(i: int) -> str:
            return f"token_id:{i}" if by_id else f" other{i}"

        own = f"token_id:{token}" if by_id else piece
        others = [i for i in range(1, 60) if i != token][: body["logprobs"] - (3 if few else 1)]
        line = {own: -0.1 / heat} | {name(i): -(0.1 + rank) / heat for rank, i in enumerate(others, 1)}
        if self.chat_logprobs:
            top = [{"id": 0, "token": text, "logprob": value} for text, value in line.items()]
            return {"content": [{"id": 0, "token": own, "logprob": -0.1 / heat, "top_logprobs": top}]}
        return {"tokens": [own], "token_logprobs": [-0.1 / heat], "top_logprobs": [line]}

    async def _fail(self, fault: Fault, writer: asyncio.StreamWriter) -> bool | None:
        """Go wrong in the middle of a stream; None when the stream goes on."""
        match fault.kind:
            case "cut":
                writer.transport.abort()
            case "hang":
                await asyncio.sleep(3600)
            case "garbage":
                await _chunk(writer, b"data: {'not': json}\n\n")
            case "no_json":
                await _chunk(writer, b"data: [1, 2]\n\n")
            case "strange":
                await _event(writer, {"choices": [{"text": 7}]})
            case "error":
                await _event(writer, {"error": {"message": fault.message, "code": 500}})
            case "filter":
                await _event(writer, {"choices": [{"text": "", "finish_reason": "content_filter"}]})
            case "length":
                await _event(writer, {"choices": [{"text": "", "token_ids": [], "finish_reason": "length"}]})
            case "end":
                await _chunk(writer, b"")
            case _:
                return None
        return False


async def _reply(
    writer: asyncio.StreamWriter, status: int, row: dict[str, Any], headers: dict[str, str] | None = None
) -> bool:
    data = json.dumps(row).encode()
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n{more}\r\n"
    writer.write(head.encode() + data)
    await writer.drain()
    return True


async def _event(writer: asyncio.StreamWriter, row: dict[str, Any]) -> None:
    await _chunk(writer, b"data: " + json.dumps(row).encode() + b"\n\n")


async def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()


@contextlib.contextmanager
def real_server(command: list[str], health: str, *, log: Path, wait_s: float, **variables: str) -> Iterator[str]:
    """Run somebody else's server on a free port (`{port}` in the command) until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    with log.open("w") as out:
        process = subprocess.Popen(
            [part.replace("{port}", str(port)) for part in command], stdout=out, stderr=out, start_new_session=True,
            env={**os.environ, **variables},
        )  # fmt: skip
        try:
            deadline = time.monotonic() + wait_s
            while not _answers(base + health):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not come up:\n{log.read_text()[-3000:]}")
                time.sleep(0.5)
            yield base
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


def metrics(base: str, name: str) -> float:
    """The sum of a Prometheus counter of a server."""
    with urllib.request.urlopen(f"{base}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{re.escape(name)}[{{ ]", line))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as page:
            return bool(page.status == 200)
    except (urllib.error.URLError, OSError):
        return False
