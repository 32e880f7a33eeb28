"""A server that replays recorded streams at the pace of the clock: `python benchmarks/paced.py FILE --port 8000`.

It speaks vLLM's completions, and sends a token when it is due however slow a reader is: all streams in step, as from a
server that batches, or each from when it began (`--apart`). FILE is JSON: `root`, the folder of the model, and `rows`
with `prompt` and `ids` (token ids) and `texts` (one for each of `ids`).
"""

import argparse
import asyncio
import contextlib
import json
import math
from pathlib import Path
from typing import Any

END = 5  # the token that ends a turn of the pocket reasoner


class Paced:
    """Serves recorded streams. Whoever asks for what was not recorded gets two tokens at once."""

    def __init__(self, recorded: dict[str, Any], *, first_ms: float, token_ms: float, apart: bool) -> None:
        self.apart = apart
        self.root, self.first_s, self.token_s = recorded["root"], first_ms / 1000, token_ms / 1000
        self.rows = {tuple(row["prompt"]): row for row in recorded["rows"]}
        self.lengths = sorted({len(prompt) for prompt in self.rows})

    async def serve(self, port: int) -> None:
        server = await asyncio.start_server(self.connection, "127.0.0.1", port)
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
                    self.reply(writer, {"data": [{"id": "pocket", "root": self.root, "max_model_len": 2048}]})
                elif b"/completions" in line:
                    await self.complete(writer, body)
                else:
                    self.reply(writer, {}, 404)
        writer.close()

    def reply(self, writer: asyncio.StreamWriter, row: Any, status: int = 200) -> None:
        data = json.dumps(row).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)

    async def complete(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        row, done = self.find(body["prompt"])
        some = next(iter(self.rows.values()))
        ids, texts = (
            (row["ids"][done:], row["texts"][done:]) if row else ([some["ids"][0], END], [some["texts"][0], ""])
        )
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        clock = asyncio.get_running_loop()
        due = clock.time() + (self.first_s if row and done == 0 else 0.0)
        if not self.apart and self.token_s:
            due = math.ceil(due / self.token_s) * self.token_s
        sent, stops = 0, set(body.get("stop_token_ids") or [END])
        for token, text in zip(ids, texts, strict=True):
            if row:
                await asyncio.sleep(max(0.0, due - clock.time()))
                due += self.token_s
            sent += 1
            over = "stop" if token in stops or token == END else "length" if sent >= body["max_tokens"] else None
            choice = {"index": 0, "text": text, "token_ids": [token], "finish_reason": over, "logprobs": None}
            if over == "stop":
                choice["stop_reason"] = token
            self.event(writer, {"choices": [choice]})
            if over:
                break
        told = {"prompt_tokens": len(body["prompt"]), "completion_tokens": sent}
        self.event(writer, {"choices": [], "usage": told})
        self.chunk(writer, b"data: [DONE]\n\n")
        self.chunk(writer, b"")
        await writer.drain()

    def event(self, writer: asyncio.StreamWriter, row: Any) -> None:
        self.chunk(writer, b"data: " + json.dumps(row).encode() + b"\n\n")

    def chunk(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    def find(self, prompt: list[int] | str) -> tuple[dict[str, Any] | None, int]:
        """The stream that a prompt stands in, and how many of its tokens are already in the prompt."""
        for n in self.lengths:
            if (row := self.rows.get(tuple(prompt[:n]))) is not None:
                return row, len(prompt) - n
        return None, 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first-ms", type=float, default=50.0, help="until the first token")
    parser.add_argument("--token-ms", type=float, default=20.0, help="between tokens")
    parser.add_argument("--apart", action="store_true", help="each stream by its own clock")
    options = parser.parse_args()
    recorded = json.loads(options.file.read_text())
    server = Paced(recorded, first_ms=options.first_ms, token_ms=options.token_ms, apart=options.apart)
    asyncio.run(server.serve(options.port))
