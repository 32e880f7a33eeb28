"""Settings from a file, read again while the server runs; and a stop that lets running requests finish."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.engines.servers import CLOSE, END, LoopbackServer

from satisfice.catalog import canonical
from satisfice.core.errors import BadInput
from satisfice.gateway.config import read_config, settings_from

EXAMPLE = """
upstream = ["http://127.0.0.1:1"]
policy = "cap:50"
control = 0.25
[offers]
quick = "cap:8"
[limits]
tokens = 500
at_once = 3
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text)
    return path


def test_a_file_says_what_the_options_say(tmp_path: Path) -> None:
    settings = settings_from(read_config(written(tmp_path, EXAMPLE)))
    assert canonical(settings.policy) == "fixed-budget(tokens=50)"
    assert canonical(settings.offers["quick"]) == "fixed-budget(tokens=8)"
    assert (settings.control, settings.limits.tokens, settings.limits.at_once) == (0.25, 500, 3)
    assert settings.limits.chains == 64  # untouched


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("polcy = 'deer'", "Did you mean 'policy'"),
        ("[limits]\ntoken = 5", "Did you mean 'tokens'"),
        ("[limits]\ntokens = 'many'", "limits.tokens must be a number"),
        ("port = 'http'", "port must be a int"),
        ("shadow = 1", "shadow must be a bool"),
        ("policy = ", "cannot be read as TOML"),
        ("policy = 'dear'", "Did you mean 'deer'"),
        ("reasoning = 'loud'", "reasoning must be"),
        ("control = 1.0", "control must be a share"),
        ("passed = ['/v1/../admin']", "pass: a path begins"),
        ("api_key_env = 'NOT_SET_ANYWHERE'", "NOT_SET_ANYWHERE is not set"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        settings_from(read_config(written(tmp_path, text)))
    with pytest.raises(BadInput, match="cannot be read"):
        read_config(tmp_path / "missing.toml")


@contextmanager
def command(config: Path, *more: str) -> Iterator[tuple[str, "subprocess.Popen[bytes]", Path]]:
    """`satisfice serve` in a process of its own, once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base, log = f"http://127.0.0.1:{port}", config.with_suffix(".log")
    arguments = [sys.executable, "-m", "satisfice.cli", "serve", "--config", str(config), "--port", str(port), *more]
    with log.open("wb") as out:
        process = subprocess.Popen(arguments, stdout=out, stderr=out, env={**os.environ, "COLUMNS": "500"})
    try:
        until(lambda: answers(base + "/healthz"), 120, log)
        yield base, process, log
    finally:
        process.kill()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def until(holds: Any, within_s: float, log: Path) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def slowly(question: str, so_far: str) -> str:
    whole = "so " * 60 + "46" + CLOSE + "46" + END
    return whole[len(so_far) :] if whole.startswith(so_far) else "46" + END


@pytest.mark.slow
def test_the_file_is_read_again_and_a_stop_lets_requests_finish(tmp_path: Path) -> None:
    with LoopbackServer(slowly, pause_s=0.03) as server:
        config = written(tmp_path, f'upstream = ["{server.url}"]\npolicy = "cap:50"\n')
        with command(config) as (base, process, log):

            def figures() -> dict[str, Any]:
                return dict(httpx.get(base + "/figures", trust_env=False).json())

            assert figures()["policy"] == "fixed-budget(tokens=50)"
            written(tmp_path, f'upstream = ["{server.url}"]\npolicy = "cap:60"\n')
            process.send_signal(signal.SIGHUP)
            until(lambda: figures()["policy"] == "fixed-budget(tokens=60)", 30, log)
            written(tmp_path, "polcy = 5")
            process.send_signal(signal.SIGHUP)
            until(lambda: "Did you mean 'policy'" in log.read_text(), 30, log)
            assert figures()["policy"] == "fixed-budget(tokens=60)"

            body = {"messages": [{"role": "user", "content": "1"}], "satisfice": {"policy": "full"}}
            said: list[httpx.Response] = []
            post = threading.Thread(
                target=lambda: said.append(
                    httpx.post(base + "/v1/chat/completions", json=body, trust_env=False, timeout=60)
                )
            )
            post.start()
            until(lambda: server.now == 1, 30, log)
            process.send_signal(signal.SIGTERM)
            post.join(60)
            assert said[0].json()["choices"][0]["message"]["content"] == "46"
            assert process.wait(60) in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_what_cannot_be_used_is_said_at_the_start(tmp_path: Path) -> None:
    with LoopbackServer(form=False) as shy, LoopbackServer(logprobs=False) as mute:
        config = written(tmp_path, f'upstream = ["{shy.url}", "{mute.url}"]\npolicy = "deer"\n')
        with command(config) as (base, _, log):
            until(lambda: "log-probabilities" in log.read_text(), 30, log)
            said = log.read_text()
            assert "does not show the chat form" in said
            assert "It is not tried again" in said
            assert "policy deer does not fit" in said
            assert json.loads(httpx.get(base + "/readyz", trust_env=False).text)["ready"]
