"""From requests to how they are generated."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.engines import scripted

from satisfice.catalog import build, canonical, sampler_text
from satisfice.core.card import Need
from satisfice.core.errors import BadInput, Unfit
from satisfice.gateway.openai import read_chat, read_completion
from satisfice.gateway.parameters import Parameters, Plain, Whole, make_parameters
from satisfice.gateway.settings import Limits, Settings

ENGINE = scripted("so 46</think>46", provides=frozenset(Need))
ENGINE.max_length = 1000  # of a chain; 20 of them kept back for the answer
SETTINGS = Settings(policy=build("deer"), offers={"quick": build("cap:8")}, limits=Limits(chains=12))


def plan(settings: Settings = SETTINGS, **fields: Any) -> Parameters:
    return make_parameters(read_chat({"messages": [{"role": "user", "content": "1 + 1"}], **fields}), settings, ENGINE)


def reserve(room: int = 1000, **fields: Any) -> int:
    return plan(**fields).reserve(room, 20)


def test_a_request_that_says_nothing_gets_the_servers_policy() -> None:
    got = plan(seed=7, temperature=0.5, top_p=0.9, stop="x")
    assert (got.name, got.chain_limit, reserve(), got.live) == ("deer", 1000, 20, True)
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
    assert reserve(thinking_token_budget=300) == 700
    assert reserve(thinking_token_budget=995) == 20  # the answer keeps its room
    assert reserve(400, thinking_token_budget=300, max_tokens=400) == 100
    assert reserve(reasoning_effort="low") == 800
    assert reserve(100, reasoning_effort="xhigh", max_completion_tokens=100) == 20
    assert plan(thinking_token_budget=300).name == "deer"


@given(room=st.integers(0, 3000), budget=st.none() | st.integers(1, 4000))
def test_thinking_has_its_budget_exactly_and_half_of_what_is_little(room: int, budget: int | None) -> None:
    thinking = room - reserve(room, thinking_token_budget=budget)
    least = min(20, room // 2)  # of the answer
    assert thinking == (room - least if budget is None else min(budget, room - least))
    assert thinking > 0 or room == 0


def test_thinking_that_is_off_needs_no_policy() -> None:
    assert plan(reasoning_effort="none").name == "nothinking"
    assert plan(thinking_token_budget=0, satisfice={"policy": "nothinking"}).name == "nothinking"
    with pytest.raises(BadInput, match="turns thinking off"):
        plan(think=False, satisfice={"policy": "deer"})


def test_limits_hold() -> None:
    strict = Settings(limits=Limits(tokens=200))
    assert plan(strict).chain_limit == 200
    assert plan(strict, max_tokens=50).chain_limit == 50
    assert plan(strict, max_tokens=201).chain_limit == 200  # lowered: clients send what other models allow
    assert plan(max_tokens=1 << 20).chain_limit == 1000
    assert plan(max_tokens=5, max_completion_tokens=6).chain_limit == 6
    for wrong in ({"control": 1.0}, {"keys": ("",)}, {"shadow": True, "control": 0.5}):
        with pytest.raises(BadInput):
            Settings(**wrong)
    with pytest.raises(BadInput, match="seconds"):
        Limits(seconds=0)


def test_needs_meet_provisions() -> None:
    poor = scripted("x", provides=frozenset({Need.FORK, Need.INJECT, Need.ABORT}))
    with pytest.raises(Unfit, match="log-probabilities"):
        make_parameters(read_chat({"messages": [{"role": "user", "content": "x"}]}), SETTINGS, poor)
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
    asked = read_chat({"messages": [{"role": "user", "content": "x"}], "satisfice": {"sampler": "top-k"}})
    with pytest.raises(Unfit, match="scores"):
        make_parameters(asked, SETTINGS, server)


def test_a_text_without_open_thinking_is_continued_plainly() -> None:
    got = make_parameters(read_completion({"prompt": "1 + 1 =", "max_tokens": 5}), SETTINGS, ENGINE, thinks=False)
    assert (got.name, got.raw, got.reserve(1000, 20), got.thinks) == ("plain", True, 0, False)
    assert isinstance(got.policy, Plain)
    asked = read_completion({"prompt": "1 + 1 =", "satisfice": {"policy": "deer"}})
    with pytest.raises(BadInput, match="no thinking open"):
        make_parameters(asked, SETTINGS, ENGINE, thinks=False)
    assert canonical(SETTINGS.policy) == "deer"


def test_no_rule_is_one_call_and_adaptive_lets_a_rule_decide() -> None:
    assert isinstance(plan(satisfice={"policy": "full"}).policy, Whole)
    none = Settings(offers={"adaptive": build("deer")})
    assert plan(none).name == "full"
    assert plan(none, thinking={"type": "adaptive"}).name == "deer"
    assert plan(thinking={"type": "adaptive"}).name == "deer"


def test_on_a_model_in_this_process_settings_are_filters_and_bias_and_the_rest_is_said() -> None:
    got = plan(top_k=20, min_p=0.1, logit_bias={"5": -3}, stop_token_ids=[7], ignore_eos=True, speling=1, user="me")
    assert got.sampler is not None
    assert sampler_text(got.sampler) == "temperature, top-k(k=20), min-p, top-p(p=1.0)"
    assert (got.bias, got.stop_ids, got.options) == ({5: -3.0}, {7}, None)
    assert got.ignored == ("ignore_eos", "speling")
    assert plan(top_k=-1, presence_penalty=0).sampler is None
    for name, value in (("presence_penalty", 1), ("min_tokens", 5), ("repetition_penalty", 1.1)):
        with pytest.raises(BadInput, match=f"{name}: the model of this server cannot"):
            plan(**{name: value})


class TextServer:
    """An upstream that knows text alone."""

    takes_ids, known_length, whole = False, 4096, False


def over(server: Any, **fields: Any) -> Parameters:
    asked = read_chat({"messages": [{"role": "user", "content": "1 + 1"}], **fields})
    return make_parameters(asked, SETTINGS, ENGINE, server)


def test_a_server_gets_what_the_client_said_and_nothing_else() -> None:
    assert over(TextServer()).options == {}
    said = {
        "temperature": 0.3,
        "top_k": 20,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "cache_salt": "x",
        "min_tokens": 3,
    }
    unsaid = {"top_p": None, "n": 1, "user": "me", "stop": "x", "reasoning_effort": "low", "presence_penalty": 0}
    assert over(TextServer(), **said, **unsaid).options == said
    with pytest.raises(BadInput, match="presence_penalty: this model's server takes no token ids"):
        over(TextServer(), presence_penalty=1.5)
    free = {"presence_penalty": 1.5, "satisfice": {"policy": "full"}}
    assert over(TextServer(), **free).options == {"presence_penalty": 1.5}
