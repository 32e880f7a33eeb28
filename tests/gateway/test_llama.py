"""llama.cpp's own server behind the gateway, on SmolLM2 with its reasoning adapter: `make test-llama`."""

import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.engines.servers import real_server
from tests.gateway.serving import Served, served, upstream

from satisfice.core.card import Need
from satisfice.gateway.settings import Settings
from satisfice.tasks import load_task

pytestmark = [
    pytest.mark.llama,
    pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="llama.cpp is not here: make test-llama"),
]

SLOT = 768  # tokens of one slot; llama.cpp takes multiples of 256
PROBLEMS = load_task("chain-sum:easy", limit=8).problems
DEER = "deer@smollm2"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.engines.gguf_of import write

    target = tmp_path_factory.mktemp("llama") / "smollm2-reasoning.gguf"
    write("smollm2+reasoning", target)
    return target


@contextmanager
def llama(weights: Path, *more: str) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.engines.llama_server", str(weights), "{port}", "--context", str(SLOT)]
    log = weights.parent / "server.log"
    with real_server([*command, *more], "/health", log=log, wait_s=120) as address:
        yield address


@pytest.fixture(scope="module")
def address(weights: Path) -> Iterator[str]:
    with llama(weights) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(address: str) -> Iterator[Served]:
    settings = Settings(keep_alive_s=0.2)  # a policy over several chains shows nothing else before it has decided
    with served(upstream(address + "?silence_s=120"), settings) as found:
        yield found


def body(question: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "seed": 1, **more}


def ask(gateway: Served, question: str, **more: Any) -> httpx.Response:
    url = gateway.url + "/v1/chat/completions"
    return httpx.post(url, json=body(question, **more), trust_env=False, timeout=600)


def busy(address: str) -> int:
    """Slots that compute."""
    return sum(slot["is_processing"] for slot in httpx.get(address + "/slots", trust_env=False, timeout=60).json())


def test_what_the_server_is_found_to_give(gateway: Served) -> None:
    engine: Any = gateway.gateway.sources.first.engine
    assert (engine.max_length, engine.server.ids, engine.server.leaks) == (SLOT, False, None)
    assert Need.LOGPROBS in engine.provides
    assert "<think>" in engine.describe()["thinking"]


def test_deer_looks_saves_and_answers(gateway: Served) -> None:
    spent: dict[str, int] = {}
    right: dict[str, int] = {}
    looks = 0
    for policy in ("full", DEER):
        rows = [ask(gateway, p.question, temperature=0, satisfice={"policy": policy}) for p in PROBLEMS]
        assert {row.status_code for row in rows} == {200}
        made = [row.json() for row in rows]
        spent[policy] = sum(row["satisfice"]["ledger"]["spent"] for row in made)
        looks += sum(row["satisfice"]["looks"] for row in made)
        said = [row["choices"][0]["message"] for row in made]
        assert all(message["reasoning"] and "<" not in message["content"] for message in said)
        pairs = zip(PROBLEMS, said, strict=True)
        right[policy] = sum(f"{{{problem.answer}}}" in message["content"] for problem, message in pairs)
    print(json.dumps({"problems": len(PROBLEMS), "spent": spent, "right": right, "looks": looks}))  # noqa: T201
    assert looks > 0
    assert spent[DEER] < spent["full"]
    assert right["full"] > 0  # the weights are where they belong


def test_a_stream_says_what_the_whole_says(gateway: Served) -> None:
    question = PROBLEMS[0].question
    whole = ask(gateway, question, temperature=0).json()["choices"][0]["message"]
    lines = ask(gateway, question, temperature=0, stream=True).text.splitlines()
    rows = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    deltas = [row["choices"][0]["delta"] for row in rows if row["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == whole["content"]
    assert "".join(delta.get("reasoning") or "" for delta in deltas) == whole["reasoning"]


@pytest.mark.parametrize("policy", ["full", DEER, "first-finish(n=3)"])
def test_a_client_that_leaves_frees_its_slots(gateway: Served, address: str, policy: str) -> None:
    asked = body(PROBLEMS[1].question, stream=True, satisfice={"policy": policy})
    with httpx.stream(
        "POST", gateway.url + "/v1/chat/completions", json=asked, trust_env=False, timeout=600
    ) as response:
        until = time.monotonic() + 120
        while not busy(address):
            assert time.monotonic() < until
        assert response.status_code == 200
    until = time.monotonic() + 10
    while busy(address):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_prompt_that_is_too_long_is_the_clients_and_leaves_the_server_ready(gateway: Served) -> None:
    refused = ask(gateway, "1 + " * 2 * SLOT + "1")
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert httpx.get(gateway.url + "/readyz", trust_env=False).status_code == 200


def test_a_slot_that_fills_ends_the_answer_with_its_text(address: str) -> None:
    with served(upstream(address + "?silence_s=120&max_length=100000")) as gateway:  # it does not know the slot
        row = ask(gateway, "7 + " * (SLOT // 4 - 20) + "1 = ?", ignore_eos=None, logit_bias={"2": -100}).json()
        assert row["choices"][0]["finish_reason"] in ("length", "stop")
        assert row["choices"][0]["message"]["reasoning"]


def test_special_tokens_that_it_shows_are_no_part_of_answers(weights: Path) -> None:
    with llama(weights, "--special") as address, served(upstream(address + "?silence_s=120")) as gateway:
        engine: Any = gateway.gateway.sources.first.engine
        assert engine.server.leaks == "<|im_end|>"
        for policy in ("full", DEER):
            message = ask(gateway, PROBLEMS[0].question, temperature=0, satisfice={"policy": policy}).json()
            assert "<|" not in json.dumps(message["choices"])


def test_policies_that_a_server_by_text_cannot_run_are_refused_in_a_sentence(gateway: Served) -> None:
    refused = ask(gateway, "1 + 1", satisfice={"policy": "deepconf"})
    assert refused.status_code == 400
    assert "log-probabilities of the likeliest tokens" in refused.json()["error"]["message"]
