"""The promise is watched: pairs, lengths and traffic are counted, an alarm is told, and requests can fall back."""

import logging
import math
from typing import Any

import httpx
import pytest
from tests.engines.servers import LoopbackServer
from tests.gateway.serving import served, upstream
from tests.gateway.test_faults import soon

from satisfice.catalog import build
from satisfice.core.errors import BadInput
from satisfice.gateway.config import settings_from
from satisfice.gateway.monitor import Watch, same_answer
from satisfice.gateway.promise import Promise, promise_from
from satisfice.gateway.settings import Settings
from satisfice.measure.drift import Reference

BODY = {"messages": [{"role": "user", "content": "1 + 1?"}]}
PROMISE = {
    "loss": "lost", "most": 0.02, "confidence": 0.95, "changed_most": 0.05, "saving": 0.5, "saving_low": 0.4,
    "traffic": {"prompt": {"edges": [10.0, 20.0], "counts": [50, 50, 50]}},
}  # fmt: skip


def test_what_is_watched_is_what_the_file_promises() -> None:
    promise = promise_from(PROMISE)
    assert promise == Promise(
        changed_most=0.05, saving_low=0.4, traffic={"prompt": Reference(edges=(10.0, 20.0), counts=(50, 50, 50))}
    )
    assert promise.allowed == 0.05
    assert promise_from({"loss": "changed", "most": 0.1}).allowed == 0.1
    assert promise_from({"loss": "lost"}).allowed is None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"loss": "all"}, "promise.loss must be one of"), ({"most": 2}, "promise.most must be a share"),
        ({"confidence": "high"}, "promise.confidence must be a share"),
        ({"traffic": {"prompt": {"edges": [1]}}}, "promise.traffic.prompt is no reference"),
        ({"traffic": {"prompt": {"edges": [2, 1], "counts": [1, 1, 1]}}}, "rising edges"),
    ],
)  # fmt: skip
def test_a_promise_that_is_none_is_named(row: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        promise_from(row)


def test_settings_take_the_promise_and_what_to_do() -> None:
    settings = settings_from({"promise": PROMISE, "on_broken_promise": "full"})
    assert settings.promise == promise_from(PROMISE)
    with pytest.raises(BadInput, match="on-broken-promise must be warn or full"):
        settings_from({"on_broken_promise": "stop"})


def test_an_alarm_is_told_once_and_stays(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(promise_from(PROMISE), "full")
    with caplog.at_level(logging.WARNING):
        for _ in range(30):
            watch.compared("So 2", "So 3", "plain")
        for _ in range(200):
            watch.compared("2", "2", "plain")
    assert watch.off
    told = [line.message for line in caplog.records]
    assert len(told) == 1
    assert told[0].startswith("the promise is broken: ")
    assert told[0].endswith("Requests are answered in full from now on.")
    assert not Watch(promise_from({"loss": "lost"}), "full").off


def test_other_traffic_is_told(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(promise_from(PROMISE))
    with caplog.at_level(logging.WARNING):
        for _ in range(60):
            watch.came(25, math.nan, math.nan)
    assert watch.figures()["drift"][0]["direction"] == "higher"
    assert sum("tokens of prompts: higher" in line.message for line in caplog.records) == 1


def test_answers_are_compared_as_the_verifier_does() -> None:
    assert same_answer("It is 1/2", "0.5", "plain") == same_answer("0.5", "It is 1/2", "plain")
    assert same_answer(r"\boxed{1/2}", r"so \boxed{0.5}", "boxed")
    assert not same_answer(r"\boxed{1}", r"\boxed{2}", "boxed")
    assert same_answer("a poem ", "a poem", "boxed")


def ask(client: httpx.Client, **more: Any) -> dict[str, Any]:
    told: dict[str, Any] = client.post("/v1/chat/completions", json=BODY | more).json()["satisfice"]
    return told


def test_a_share_is_answered_in_full_and_compared() -> None:
    settings = Settings(policy=build("first-cue"), control=0.5, promise=promise_from(PROMISE))
    with (
        LoopbackServer() as server,
        served(upstream(server.url), settings) as gateway,
        httpx.Client(trust_env=False, base_url=gateway.url) as client,
    ):
        told = [ask(client) for _ in range(60)]
        [ask(client, satisfice={"policy": "full"}) for _ in range(3)]  # of these nothing was promised
        in_full = [row.get("control") for row in told].count("first-cue")
        watch = gateway.gateway.shared.watch
        assert watch is not None
        assert watch.monitor is not None
        soon(lambda: watch.monitor.compared + gateway.gateway.figures()["not_shadowed"] == in_full)
        found = client.get("/figures").json()["promise"]
        assert found["compared"] == watch.monitor.compared > 0
        assert (found["changed"], found["broken"]) == (0, False)
        assert watch.saved.n == 60
        assert found["saving"]["low"] < found["saving"]["mean"] < found["saving"]["high"]
        assert found["drift"][0]["requests"] == 60 - in_full
        text = client.get("/metrics").text
        assert f"satisfice_promise_compared {found['compared']}.0" in text
        assert 'satisfice_drift_evidence{number="prompt"}' in text


def test_in_shadow_mode_every_request_is_compared_and_savings_are_paired() -> None:
    settings = Settings(policy=build("first-cue"), shadow=True, promise=promise_from(PROMISE))
    with LoopbackServer() as server, served(upstream(server.url), settings) as gateway:
        with httpx.Client(trust_env=False, base_url=gateway.url) as client:
            for _ in range(4):
                ask(client)
        watch = gateway.gateway.shared.watch
        assert watch is not None
        soon(lambda: watch.saved.n == 4)
        assert watch.monitor is not None
        assert (watch.monitor.compared, watch.monitor.lost) == (4, 0)
        assert watch.saved.saving > 0


def test_a_broken_promise_is_followed_by_full_answers_where_told_so() -> None:
    for on_broken, policy in (("full", "full"), ("warn", "first-cue")):
        settings = Settings(policy=build("first-cue"), promise=promise_from(PROMISE), on_broken_promise=on_broken)
        with LoopbackServer() as server, served(upstream(server.url), settings) as gateway:
            watch = gateway.gateway.shared.watch
            assert watch is not None
            for _ in range(20):
                watch.compared("2", "3", "plain")
            with httpx.Client(trust_env=False, base_url=gateway.url) as client:
                assert ask(client)["policy"] == policy
                assert ask(client, satisfice={"policy": "first-cue"})["policy"] == "first-cue"  # by name it still runs
                assert client.get("/figures").json()["promise"]["off"] == (on_broken == "full")
            gateway.gateway.configure(settings)
            assert gateway.gateway.shared.watch is watch  # the same promise: what was seen of it holds
            gateway.gateway.configure(Settings(policy=build("deer"), promise=settings.promise))
            assert gateway.gateway.shared.watch is not watch
