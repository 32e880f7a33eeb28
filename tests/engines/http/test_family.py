"""How a server's model thinks is seen or said, never assumed; what its text hides or adds is found at the start."""

import asyncio

import pytest
from tests.engines.servers import OPEN, LoopbackServer, steps_script

from satisfice.catalog import build
from satisfice.core.errors import BadInput
from satisfice.core.problem import Problem
from satisfice.core.session import Session, solve
from satisfice.engines.http.engine import HttpEngine
from satisfice.engines.scripted import SCRIPTED
from satisfice.models.recognise import family_of

PROBLEM = Problem(id="a", task="t@1", question="What is 12+34?", answer="46")


def opens_with(tag):
    def script(question, so_far):
        return steps_script(question, so_far) if OPEN in question else f"{tag}\nso 46"

    return script


def solved(engine, policy="full"):
    async def work():
        async with engine:
            return await solve(build(policy), Session(engine, PROBLEM))

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("end", "script", "name", "shown"),
    [
        (OPEN, steps_script, "r1", "its chat form ends in <think>"),
        ("[THINK]", steps_script, "mistral", "its chat form ends in [THINK]"),
        ("<think>\n\n</think>\n\n", steps_script, "r1", "its chat form ends in empty thinking, <think> </think>"),
        ("", opens_with("<think>"), "r1", "it begins with <think>"),
        ("", opens_with("<seed:think>"), "seed", "it begins with <seed:think>"),
    ],
)
def test_the_family_is_what_the_form_or_the_first_words_show(end, script, name, shown):
    with LoopbackServer(script, form_end=end, extended=True) as server:
        engine = HttpEngine(server.url)
        assert engine.profile.name == name
        assert engine.describe()["thinking"] == shown


def test_gpt_oss_is_known_by_its_turn():
    found = family_of("<|start|>user<|message|>1<|end|><|start|>assistant")
    assert found is not None
    assert found[0].name == "harmony"


@pytest.mark.parametrize("extended", [True, False])
def test_a_model_that_shows_no_thinking_is_not_taken_for_one_that_thinks(extended):
    with LoopbackServer(opens_with("Sure."), form_end="", extended=extended) as server:
        with pytest.raises(BadInput, match=r"nothing shows how toy thinks.*profile=r1"):
            HttpEngine(server.url)
        with pytest.raises(BadInput, match="nothing shows how toy thinks"):
            HttpEngine(server.url, template="<|user|>{question}<|assistant|>")
        assert HttpEngine(server.url, profile="r1").profile.name == "r1"


def test_a_profile_that_the_form_contradicts_is_refused():
    with (
        LoopbackServer(form_end="[THINK]") as server,
        pytest.raises(BadInput, match=r"begin with <think>, but of toy its chat form ends in \[THINK\]"),
    ):
        HttpEngine(server.url, profile="r1")


def test_a_server_that_wraps_prompts_again_is_refused():
    with (
        LoopbackServer(wraps=True, extended=True) as server,
        pytest.raises(BadInput, match="became 4 tokens, so this server puts prompts into the chat form once more"),
    ):
        HttpEngine(server.url)


def test_a_server_that_strips_the_tag_is_refused():
    with (
        LoopbackServer(strips=True, extended=True) as server,
        pytest.raises(BadInput, match=r"12 times '</think>' lacks that tag.*--special"),
    ):
        HttpEngine(server.url)


@pytest.mark.parametrize("strips", [True, False])
def test_gpt_oss_where_special_tokens_are_shown_and_where_they_are_not(strips):
    """Its tags are made of special tokens and words; a server that strips them leaves `assistantfinal`."""
    opens = "<|channel|>analysis<|message|>"
    final = "<|end|><|start|>assistant<|channel|>final<|message|>"

    def script(question, so_far):
        whole = f"so 46\nWait, so 46{final}46<|return|>"
        _, closed, said = so_far.partition(final)
        if closed and not whole.startswith(so_far):
            return "46<|return|>"[len(said) :]
        return whole[len(so_far) :]

    form = {"form_end": "<|start|>assistant", "opens": opens, "end": "<|return|>", "extended": True}
    with LoopbackServer(script, strips=strips, **form) as server:
        if strips:
            with pytest.raises(BadInput, match="leaves special tokens"):
                HttpEngine(server.url)
            return
        engine = HttpEngine(server.url)
        assert engine.profile.name == "harmony"
        whole, cut = solved(engine), solved(engine, "first-cue")
        assert (whole.error, whole.thinking, whole.text) == ("", "so 46\nWait, so 46", "46")
        assert (cut.error, cut.thinking, cut.text) == ("", "so 46\n", "46")


@pytest.mark.parametrize("logprobs", [True, False])
def test_an_end_of_turn_that_leaks_is_no_part_of_answers(logprobs):
    with LoopbackServer(special=True, logprobs=logprobs, extended=True) as server:
        engine = HttpEngine(server.url, profile=SCRIPTED)
        assert engine.server.leaks == "<|end|>"
        for policy in ("full", "first-cue"):
            solution = solved(engine, policy)
            assert (solution.error, solution.text) == ("", "46")
    with LoopbackServer(extended=True) as server:
        assert HttpEngine(server.url, profile=SCRIPTED).server.leaks is None
