"""Tools and JSON by a schema under a rule, on SmolLM2 behind vLLM with its own tool parser: `make test-vllm`."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from tests.engines.servers import real_server
from tests.gateway.serving import Served, served, upstream

from satisfice.models.resolve import model_folder
from satisfice.tasks import load_task

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("default"),  # vLLM's own
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here: make test-vllm"),
]

PROBLEMS = [p for task in ("leg-counting:easy", "chain-sum:easy") for p in load_task(task, limit=30).problems]
RULE = "deer@smollm2"
LONGEST = 512  # tokens: now and then this model goes round in circles
SCHEMA = {
    "type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"],
    "additionalProperties": False,
}  # fmt: skip
WISHES: dict[str, dict[str, Any]] = {
    "tools": {
        "tools": [{"type": "function", "function": {"name": "answer", "parameters": SCHEMA}}],
        "tool_choice": "required",
    },
    "schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
    },
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    marks = {"reasoning_start_str": "<think>", "reasoning_end_str": "</think>"}
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model_folder("smollm2+reasoning")),
        "--dtype", "float32", "--enforce-eager", "--max-model-len", "2048", "--enable-auto-tool-choice",
        "--tool-call-parser", "hermes", "--reasoning-config", json.dumps(marks), "--port", "{port}",
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with (
        real_server(command, "/health", log=log, wait_s=900, VLLM_CPU_KVCACHE_SPACE="2") as address,
        served(upstream(address + "?silence_s=300")) as found,
    ):
        yield found


def ask(gateway: Served, question: str, **more: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": question}], "max_tokens": LONGEST, "seed": 1, **more}
    return httpx.post(gateway.url + "/v1/chat/completions", json=body, trust_env=False, timeout=900)


def said(row: dict[str, Any], wish: str) -> Any:
    """The answer of a response: the argument of its call, or the field of its JSON."""
    message = row["choices"][0]["message"]
    if wish == "tools":
        [call] = message["tool_calls"]
        assert call["function"]["name"] == "answer"
        return json.loads(call["function"]["arguments"])["answer"]
    return json.loads(message["content"])["answer"]


@pytest.mark.parametrize("wish", list(WISHES))
def test_a_rule_ends_the_thinking_and_vllm_writes_the_answer(gateway: Served, wish: str) -> None:
    spent: dict[str, list[int]] = {}
    right: dict[str, list[bool]] = {}
    for policy in ("full", RULE):

        def one(problem: Any, policy: str = policy) -> tuple[dict[str, Any], bool]:
            response = ask(gateway, problem.question, satisfice={"policy": policy}, **WISHES[wish])
            assert response.status_code == 200, response.text
            row = response.json()
            return row, str(said(row, wish)) == problem.answer

        with ThreadPoolExecutor(16) as pool:
            rows = list(pool.map(one, PROBLEMS))
        assert all(row["choices"][0]["message"]["reasoning"] for row, _ in rows)
        assert {row["satisfice"]["policy"].partition("(")[0] for row, _ in rows} == {policy.partition("@")[0]}
        spent[policy] = [row["usage"]["completion_tokens"] for row, _ in rows]
        right[policy] = [verdict for _, verdict in rows]
        looks = sum(row["satisfice"]["looks"] for row, _ in rows)
    ratio = sum(spent[RULE]) / sum(spent["full"])
    dice = np.random.default_rng(0)
    drawn = dice.integers(0, len(PROBLEMS), (2000, len(PROBLEMS)))
    ratios = np.array(spent[RULE])[drawn].sum(1) / np.array(spent["full"])[drawn].sum(1)
    low, high = np.quantile(1 - ratios, [0.025, 0.975])
    report = {
        "wish": wish, "problems": len(PROBLEMS), "saved": round(1 - ratio, 3),
        "interval": [round(low, 3), round(high, 3)],
        "accuracy": {name: round(float(np.mean(row)), 3) for name, row in right.items()}, "looks": looks,
    }  # fmt: skip
    print(json.dumps(report))  # noqa: T201
    assert looks > 0
    assert low > 0
    assert sum(right["full"]) > 0.3 * len(PROBLEMS)


def test_a_stream_of_a_call_comes_after_its_thinking(gateway: Served) -> None:
    lines = ask(gateway, PROBLEMS[0].question, stream=True, satisfice={"policy": RULE}, **WISHES["tools"]).text
    rows = [json.loads(line[6:]) for line in lines.splitlines() if line.startswith("data: {")]
    deltas = [row["choices"][0]["delta"] for row in rows if row["choices"]]
    calls = [n for n, delta in enumerate(deltas) if delta.get("tool_calls")]
    thoughts = [n for n, delta in enumerate(deltas) if delta.get("reasoning")]
    assert thoughts
    assert calls
    assert max(thoughts) < min(calls)
    text = "".join(call["function"].get("arguments") or "" for n in calls for call in deltas[n]["tool_calls"])
    assert isinstance(json.loads(text)["answer"], int)


def test_a_budget_holds_with_a_call(gateway: Served) -> None:
    row = ask(gateway, PROBLEMS[0].question, thinking_token_budget=16, **WISHES["tools"]).json()
    assert isinstance(said(row, "tools"), int)
