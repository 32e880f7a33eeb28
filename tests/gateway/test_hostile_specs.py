"""Policies and samplers that a request names: whatever it asks for, nobody else has to wait for it."""

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.gateway.serving import Served, local, served

from satisfice.catalog import build, methods_of, sampling
from satisfice.core.fields import FieldType, field_types
from satisfice.core.session import POLICY
from satisfice.engines.local.engine import LocalEngine
from satisfice.gateway.parameters import LONGEST
from satisfice.gateway.settings import Limits, Settings
from satisfice.tasks import load_task

[PROBLEM] = load_task("chain-sum:hard", limit=1).problems
STALL_S = 3.0  # processor time of the gateway's threads for which nobody may wait; other work is not in it
HUGE = "9" * 1900


@pytest.fixture(scope="module")
def gateway() -> Iterator[Served]:
    limits = Limits(at_once=20, at_once_per_key=20, chains=8, spend=4000, seconds=10)
    with served(local(LocalEngine()), Settings(policy=build("full"), limits=limits)) as found:
        yield found


@pytest.fixture
def ask(gateway: Served) -> Iterator[Any]:
    """Asks for an answer; in the end, nobody else has had to wait."""
    slowest, over = 0.0, threading.Event()

    def others() -> None:
        nonlocal slowest
        with httpx.Client(base_url=gateway.url, trust_env=False, timeout=60) as client:
            while not over.wait(0.02):
                begin = time.process_time()
                assert client.get("/healthz").status_code == 200
                slowest = max(slowest, time.process_time() - begin)

    watch = threading.Thread(target=others)
    watch.start()
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=60) as client:

        def one(wish: dict[str, Any], **more: Any) -> httpx.Response:
            body = {"messages": [{"role": "user", "content": PROBLEM.question}], "satisfice": wish, "seed": 1, **more}
            return client.post("/v1/chat/completions", json=body)

        yield one
    over.set()
    watch.join()
    assert slowest < STALL_S


@pytest.mark.parametrize(
    "wish",
    [
        {"policy": "fsf-select(markers=(a+)+$)"}, {"policy": "fsf-select:(a+)+$"},
        {"policy": "fsf-select", "markers": "(a+)+$"}, {"policy": "fsf-select", "MARKERS": "(a+)+$"},
        {"policy": "first-finish(stop=fsf-select(markers='(x+x+)+y'))"},
        {"policy": "first-finish", "stop": {"id": "fsf-select", "markers": "(x+x+)+y"}},
        {"policy": "lynx(artefact=/dev/zero)"}, {"policy": "lynx", "artefact": "/dev/stdin"},
        {"policy": "/etc/passwd:Full"}, {"policy": "../x.py:Full"}, {"policy": "http://127.0.0.1/x.py:Full"},
        {"policy": f"self-consistency(n={HUGE})"}, {"policy": f"cap:{HUGE}"}, {"policy": f"deer(threshold={HUGE})"},
        {"policy": f"deer(threshold=1e{HUGE})"}, {"policy": "deer", "threshold": 10**400},
        {"policy": "deer(threshold=nan)"}, {"policy": "deer(threshold=inf)"},
        {"policy": "deer", "threshold": "0.9" * 9}, {"policy": "deepconf(top=101)"},
        {"policy": "self-consistency", "n": 1 << 62}, {"policy": "self-consistency(n=64)"},
        {"policy": "first-finish(stop=" * 100 + "full" + ")" * 100}, {"policy": "first-finish(stop=" * 100},
        {"policy": "(" * 2000}, {"policy": ")" * 2000}, {"policy": "," * 2000}, {"policy": "a=" * 1000},
        {"policy": "deer(" + "threshold=0.5," * 140 + ")"}, {"policy": " " * 1999 + "x"},
        {"policy": "deer" + "\t" * 1900 + "!"},
        {"policy": "deer(" + "'" * 1900 + ")"}, {"policy": "deer(" + "\\" * 1900 + ")"}, {"policy": "-" * 2000},
        {"policy": "first-finish", "stop": {"id": "first-finish", "stop": {"id": ["full"]}}},
        {"policy": "first-finish", "stop": {"stop": {"stop": {"stop": {}}}}},
        {"sampler": f"top-k:{HUGE}"}, {"sampler": "min-p:nan"}, {"sampler": "min-p:1e999"}, {"sampler": "," * 2000},
        {"sampler": "top-k," * 333}, {"sampler": "(" * 2000}, {"sampler": "basis-aware"}, {"sampler": "x.py:Filter"},
    ],
    ids=lambda wish: str(wish)[:50],
)  # fmt: skip
def test_what_no_request_may_ask_for_is_refused_at_once(ask: Any, wish: dict[str, Any]) -> None:
    begin = time.monotonic()
    response = ask(wish)
    assert time.monotonic() - begin < 5
    assert response.status_code == 400, response.text
    message = response.json()["error"]["message"]
    assert len(message) < 5000
    assert "Traceback" not in message


def extremes(method: type) -> Iterator[dict[str, Any]]:
    """The most and the least that each number of a method may be, alone and all together."""

    def ends(kind: FieldType) -> list[Any]:
        low, high = kind.range.low, kind.range.high
        if kind.kind == "int":
            return [int(max(low or 0, 0)), int(min(high or LONGEST, LONGEST))]
        return [low if low is not None else -1e300, high if high is not None else 1e300]

    found = {name: ends(kind) for name, kind in field_types(method).items() if kind.kind in ("int", "float")}
    yield from ({name: value} for name, values in found.items() for value in values)
    yield from ({name: values[which] for name, values in found.items()} for which in (0, 1) if found)


RULES = [
    name for name, rule in methods_of(POLICY).items() if not any(k.kind == "text" for k in field_types(rule).values())
]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RULES))
def test_no_numbers_of_a_policy_hold_others_up(ask: Any, name: str) -> None:
    for fields in extremes(methods_of(POLICY)[name]):
        response = ask({"policy": name, **fields}, max_tokens=300)
        assert response.status_code in (200, 400), (fields, response.text)


@pytest.mark.slow
def test_no_numbers_of_a_sampler_hold_others_up(ask: Any) -> None:
    for name, method in sampling.FAMILY.methods.items():
        for fields in itertools.islice(extremes(method), 8):
            spec = f"{name}({', '.join(f'{field}={value!r}' for field, value in fields.items())})"
            response = ask({"policy": "full", "sampler": spec}, max_tokens=100)
            assert response.status_code in (200, 400), (spec, response.text)
