"""What `deploy/` holds, as far as a machine without containers can run it: load balancer, unit, compose file."""

import contextlib
import inspect
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from tests.engines.servers import LoopbackServer, real_server, steps_script

from satisfice.gateway import monitor
from satisfice.gateway.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SERVE = "import sys; from satisfice.cli.main import main; sys.argv[0] = 'satisfice'; main()"


@contextlib.contextmanager
def replica(upstream: str, folder: Path, number: int) -> Iterator[tuple[str, int]]:
    """A gateway in a process of its own: its address and its process group."""
    pidfile = folder / f"gateway-{number}.pid"
    code = f"import os; open({str(pidfile)!r}, 'w').write(str(os.getpid())); {SERVE}"
    command = [sys.executable, "-c", code, "serve", "--upstream", upstream, "--port", "{port}", "--drain-s", "1"]
    log = folder / f"gateway-{number}.log"
    with real_server(command, "/readyz", log=log, wait_s=120, OMP_NUM_THREADS="1") as address:
        yield address, int(pidfile.read_text())


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[tuple[str, LoopbackServer, list[int]]]:
    """Two gateways before one upstream, behind nginx with the configuration of `deploy/`, and their processes."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(LoopbackServer(steps_script, pause_s=0.03))
        replicas = [stack.enter_context(replica(server.url, tmp_path, number)) for number in (1, 2)]
        written = (DEPLOY / "nginx.conf").read_text()
        for name, (address, _) in zip(("gateway-a:8080", "gateway-b:8080"), replicas, strict=True):
            assert written.count(name) == 1
            written = written.replace(name, address.removeprefix("http://"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (tmp_path / "site.conf").write_text(written.replace("listen 80;", f"listen 127.0.0.1:{port};"))
        (tmp_path / "nginx.conf").write_text(
            "daemon off; pid nginx.pid; error_log error.log; events {}\n"
            "http { access_log off; client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c;\n"
            "uwsgi_temp_path d; scgi_temp_path e; include site.conf; }\n"
        )
        assert NGINX is not None
        nginx = subprocess.Popen([NGINX, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")])
        try:
            base = f"http://127.0.0.1:{port}"
            until = time.monotonic() + 20
            while not _ready(port):
                assert time.monotonic() < until, (tmp_path / "error.log").read_text()
                time.sleep(0.05)
            yield base, server, [process for _, process in replicas]
        finally:
            nginx.terminate()
            nginx.wait(10)


def _ready(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(client: openai.OpenAI) -> tuple[str, str, list[float]]:
    """Thinking, answer, and when each piece came."""
    thinking, answer, times = "", "", []
    messages: Any = [{"role": "user", "content": "What is 12+34?"}]
    for chunk in client.chat.completions.create(model="toy", messages=messages, stream=True):
        times.append(time.monotonic())
        for choice in chunk.choices:
            thinking += getattr(choice.delta, "reasoning", None) or ""
            answer += choice.delta.content or ""
    return thinking, answer, times


@pytest.mark.slow
@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_two_replicas_behind_the_load_balancer(balanced: tuple[str, LoopbackServer, list[int]]) -> None:
    base, server, processes = balanced
    whole = ("12+34=46 so 46\nWait, 46-34=12 yes\nWait, once more so 46", "46")
    with openai.OpenAI(base_url=f"{base}/v1", api_key="any", max_retries=0, timeout=30) as client:
        *said, times = ask(client)
        assert tuple(said) == whole
        assert len(times) > 10
        assert times[-1] - times[0] > 0.3  # as the tokens come, not in one lump

        before = server.hung_up
        messages: Any = [{"role": "user", "content": "What is 12+34?"}]
        stream = client.chat.completions.create(model="toy", messages=messages, stream=True)
        next(iter(stream))
        stream.close()  # who leaves is told to the gateway, and by that to the upstream
        until = time.monotonic() + 10
        while server.hung_up == before and time.monotonic() < until:
            time.sleep(0.02)
        assert server.hung_up == before + 1

        for _ in range(4):
            assert ask(client)[:2] == whole
        os.kill(processes[0], signal.SIGKILL)
        for _ in range(6):
            assert ask(client)[:2] == whole
        assert client.models.list().data[0].id == "toy"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_is_one(tmp_path: Path) -> None:
    text = (DEPLOY / "satisfice.service").read_text()
    [program] = re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE)
    unit = tmp_path / "satisfice.service"
    unit.write_text(text.replace(program, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_is_deployed_says_what_the_command_takes() -> None:
    """Every option in `deploy/` is one of `satisfice serve`."""
    told = subprocess.run([sys.executable, "-c", SERVE, "serve", "--help"], capture_output=True, text=True).stdout
    gateway = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["gateway-a"]
    unit = (DEPLOY / "satisfice.service").read_text()
    used = re.findall(r"--[a-z-]+", " ".join(gateway["command"]))
    used += re.findall(r"--[a-z-]+", unit.partition("satisfice serve")[2].partition("\n")[0])
    assert len(used) > 5
    assert {option for option in used if option not in told} == set()


def test_dashboard_alerts_and_page_speak_of_figures_that_there_are() -> None:
    metrics = Metrics()
    metrics.began()
    metrics.ended("ok", 1.0, "anybody")
    there = set(re.findall(r"^# TYPE (\w+)", metrics.text().decode(), re.MULTILINE))
    there |= set(
        re.findall(r'"(satisfice_\w+)"', inspect.getsource(monitor))
    )  # those of a promise, where one is watched
    page = (DEPLOY.parent / "docs" / "operating.md").read_text()
    board, alerts = (DEPLOY / "grafana.json").read_text(), (DEPLOY / "alerts.yaml").read_text()
    for text in (board, alerts, page):
        used = {name.removesuffix("_bucket") for name in re.findall(r"satisfice_\w*[a-z]", text)}
        assert len(used) > 5
        assert used - there - {"satisfice_compared"} == set()
    rules = [rule for group in yaml.safe_load(alerts)["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    assert all({"expr", "for", "labels", "annotations"} <= rule.keys() for rule in rules)
    panels = json.loads(board)["panels"]
    places = [(at["x"], at["y"]) for at in (panel["gridPos"] for panel in panels)]
    assert len(set(places)) == len(panels)
