"""From requests to plans."""

from typing import Any

import pytest
from tests.gateway.engines import scripted

from satisfice.catalog import build, canonical, sampler_text
from satisfice.core.card import Need
from satisfice.core.errors import BadInput, Unfit
from satisfice.gateway.body import ChatBody, CompletionBody
from satisfice.gateway.plan import Plan, make_plan
from satisfice.gateway.settings import Limits, Settings

ENGINE = scripted(
    "so 46</think>46", provides=frozenset(Need)
)  # at most 1000 tokens a chain, 20 of them kept back for the answer
SETTINGS = Settings(policy=build("deer"), offers={"quick": build("cap:8")}, limits=Limits(chains=12))


def plan(settings: Settings = SETTINGS, **fields: Any) -> Plan:
    body = ChatBody.model_validate({"messages": [{"role": "user", "content": "1 + 1"}], **fields})
    return make_plan(body, settings, ENGINE)


def test_a_request_that_says_nothing_gets_the_servers_policy() -> None:
    got = plan(seed=7, temperature=0.5, top_p=0.9, stop="x")
    assert (got.name, got.chain_limit, got.reserve, got.live) == ("deer", 1000, 20, True)
    assert (got.seed, got.temperature, got.top_p, got.stop, got.raw) == (7, 0.5, 0.9, ("x",), False)
    assert plan().seed != plan().seed


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ({"policy": "deer", "threshold": 0.9}, "deer(threshold=0.9)"),
        ({"policy": "deer(threshold=0.9)"}, "deer(threshold=0.9)"),
        ({"policy": "cap:50"}, "fixed-budget(tokens=50)"),
        ({"policy": "cap", "tokens": 50}, "fixed-budget(tokens=50)"),
        ({"policy": "quick"}, "fixed-budget(tokens=8)"),
        ({"policy": "first-finish", "n": 4, "stop": "deer"}, "first-finish(n=4, stop=deer)"),
        ({"policy": "first-finish", "stop": {"id": "cap", "tokens": 9}}, "first-finish(stop=fixed-budget(tokens=9))"),
        ({}, "deer"),
    ],
)  # fmt: skip
def test_a_request_may_name_a_policy(wish: dict[str, Any], name: str) -> None:
    got = plan(satisfice=wish)
    assert got.name == name
    assert got.live == ("first-finish" not in name)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"policy": "dear"}, "Did you mean 'deer'"),
        ({"policy": "deer", "treshold": 1}, "threshold"),
        ({"threshold": 0.9}, "Say which"),
        ({"policy": "deer(threshold=0.9)", "mean": "min"}, "not both"),
        ({"policy": "./my.py:Rule"}, "command line only"),
        ({"policy": "lynx(artefact=/etc/passwd)"}, "cannot be set by a request"),
        ({"policy": "lynx:/etc/passwd"}, "cannot be set by a request"),
        ({"policy": "lynx", "artefact": "/etc/passwd"}, "cannot be set by a request"),
        ({"policy": "first-finish(stop=lynx:/etc/passwd)"}, "cannot be set by a request"),
        ({"policy": "first-finish", "stop": {"id": "lynx", "artefact": "x"}}, "cannot be set by a request"),
        ({"policy": "fsf-select", "markers": "(a+)+$"}, "cannot be set by a request"),
        ({"policy": "first-finish(n=13)"}, "at most 12"),
        ({"policy": "first-finish(stop=deer-pro(n=99))"}, "at most 12"),
        ({"policy": "cap:99999999"}, "at most 65536"),
        ({"policy": "first-finish(stop=" * 12 + "full" + ")" * 12}, "deep"),
        ({"policy": "lynx :/etc/passwd"}, "cannot be set by a request"),
        ({"policy": "lynx( artefact =/etc/passwd)"}, "cannot be set by a request"),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_granted_is_an_error_that_helps(wish: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        plan(satisfice=wish)


def test_a_budget_of_thinking_is_a_reserve_for_the_answer_under_any_policy() -> None:
    assert plan(thinking_token_budget=300).reserve == 700
    assert plan(thinking_token_budget=995).reserve == 20  # the answer keeps its room
    assert plan(thinking_token_budget=300, max_tokens=400).reserve == 100
    assert plan(reasoning_effort="low").reserve == 800
    assert plan(reasoning_effort="xhigh", max_completion_tokens=100).reserve == 20
    assert plan(max_tokens=10).reserve == 10
    assert plan(thinking_token_budget=300).name == "deer"


def test_thinking_that_is_off_needs_no_policy() -> None:
    assert plan(reasoning_effort="none").name == "nothinking"
    assert plan(thinking_token_budget=0, satisfice={"policy": "nothinking"}).name == "nothinking"
    with pytest.raises(BadInput, match="turns thinking off"):
        plan(think=False, satisfice={"policy": "deer"})


def test_limits_hold() -> None:
    strict = Settings(limits=Limits(tokens=200))
    assert plan(strict).chain_limit == 200
    assert plan(strict, max_tokens=50).chain_limit == 50
    with pytest.raises(BadInput, match="at most 200"):
        plan(strict, max_tokens=201)
    with pytest.raises(BadInput, match="differ"):
        plan(max_tokens=5, max_completion_tokens=6)
    for wrong in ({"control": 1.0}, {"keys": ("",)}, {"shadow": True, "control": 0.5}):
        with pytest.raises(BadInput):
            Settings(**wrong)
    with pytest.raises(BadInput, match="seconds"):
        Limits(seconds=0)


def test_needs_meet_provisions() -> None:
    poor = scripted("x", provides=frozenset({Need.FORK, Need.INJECT, Need.ABORT}))
    body = ChatBody.model_validate({"messages": [{"role": "user", "content": "x"}]})
    with pytest.raises(Unfit, match="log-probabilities"):
        make_plan(body, SETTINGS, poor)
    with pytest.raises(BadInput, match="is a filter"):
        plan(satisfice={"policy": "top-p"})


def test_a_request_may_name_a_sampler() -> None:
    got = plan(satisfice={"sampler": "top-k:20, temperature, min-p:0.1"}, temperature=1.5)
    assert got.sampler is not None
    assert (sampler_text(got.sampler), got.sampler.temperature) == ("top-k(k=20), temperature, min-p", 1.5)
    assert plan().sampler is None
    with pytest.raises(BadInput, match="Did you mean 'min-p'"):
        plan(satisfice={"sampler": "min_q:0.1"})
    with pytest.raises(BadInput, match="no request may ask"):
        plan(satisfice={"sampler": "basis-aware"})
    server = scripted("x", provides=frozenset(Need) - {Need.LOGITS})
    body = ChatBody.model_validate({"messages": [{"role": "user", "content": "x"}], "satisfice": {"sampler": "top-k"}})
    with pytest.raises(Unfit, match="scores"):
        make_plan(body, SETTINGS, server)


def test_a_text_without_open_thinking_is_continued_plainly() -> None:
    body = CompletionBody.model_validate({"prompt": "1 + 1 =", "max_tokens": 5})
    got = make_plan(body, SETTINGS, ENGINE, thinks=False)
    assert (got.name, got.raw, got.reserve, got.thinks) == ("plain", True, 0, False)
    body = CompletionBody.model_validate({"prompt": "1 + 1 =", "satisfice": {"policy": "deer"}})
    with pytest.raises(BadInput, match="no thinking open"):
        make_plan(body, SETTINGS, ENGINE, thinks=False)
    assert canonical(SETTINGS.policy) == "deer"
