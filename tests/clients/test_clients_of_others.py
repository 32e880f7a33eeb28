"""Clients of others, unchanged, against a gateway under `deer` over the pocket model: `make test-clients`.

Each is a program of its own in this folder, run by the interpreter that has it: Python's in an environment of theirs,
Node's here. It prints what it saw as JSON.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.gateway.serving import Served, local, served

from satisfice.catalog import build
from satisfice.engines.local.engine import LocalEngine
from satisfice.gateway.settings import Settings
from satisfice.tasks import load_task

HERE = Path(__file__).parent
PYTHON = os.environ.get("CLIENTS_PYTHON", "")
NODE = shutil.which("node") if (HERE / "node_modules").is_dir() else None
pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(not PYTHON or NODE is None, reason="the clients are not here: make test-clients"),
]

[PROBLEM] = load_task("chain-sum:hard", limit=1).problems
SHOWS = {"openai_node.mjs", "ai_sdk.mjs", "litellm_sdk.py", "pydantic_agent.py", "inspect_eval.py"}
"""Those that show thinking as thinking. LangChain's client drops it, the harness wants answers alone."""
PROGRAMS = sorted({*SHOWS, "langchain_chat.py", "lm_eval_chat.py"})


@pytest.fixture(scope="module")
def gateway() -> Iterator[Served]:
    with served(local(LocalEngine()), Settings(policy=build("deer(threshold=0.97)"), reasoning="both")) as found:
        yield found


@pytest.fixture(scope="module")
def spent_without(gateway: Served) -> int:
    body = {"messages": [{"role": "user", "content": PROBLEM.question}], "seed": 1, "satisfice": {"policy": "full"}}
    made = httpx.post(gateway.url + "/v1/chat/completions", json=body, trust_env=False, timeout=60).json()
    return int(made["satisfice"]["ledger"]["spent"])


def figures(gateway: Served) -> Any:
    return httpx.get(gateway.url + "/figures", trust_env=False).json()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_client_sees_thinking_answers_and_savings(gateway: Served, spent_without: int, program: str) -> None:
    before = figures(gateway)
    command = [str(NODE) if program.endswith(".mjs") else PYTHON, str(HERE / program), gateway.url, PROBLEM.question]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=HERE, env=clean)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.strip().splitlines()[-1])

    assert re.fullmatch(r"-?\d+", seen["answer"].strip())
    if program in SHOWS:
        assert re.search(r"\d", seen["thinking"])
        assert seen["thinking"] not in seen["answer"]
    if "reasoning_tokens" in seen:
        assert seen["reasoning_tokens"] > 0
    if "streamed" in seen:
        thinking, answer = seen["streamed"]
        assert answer.strip() == seen["answer"].strip()
        assert thinking == seen["thinking"]
    assert seen.get("overflow", "known") == "known"
    assert all(text.strip() for text in seen.get("batch", []))

    until = time.monotonic() + 10
    while gateway.gateway.limiter.running:  # those who left have stopped the spending
        assert time.monotonic() < until
        time.sleep(0.02)
    after = figures(gateway)
    assert after["tokens"]["probe"] > before["tokens"]["probe"]  # it was looked into chains
    chains = (
        ended(after)
        - ended(before)
        + sum(row["requests"].get("cancelled", 0) * sign for row, sign in ((after, 1), (before, -1)))
    )
    assert (after["tokens"]["spent"] - before["tokens"]["spent"]) / chains < spent_without


def ended(row: Any) -> int:
    """Chains whose thinking has ended under the rule."""
    return sum(stop["n"] for stop in row["stops"] if stop["policy"] == "deer")
