"""The http engine against a real server on a loopback socket: what it finds out, and chains over it."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.servers import END, LoopbackServer

from satisfice.catalog import build, check_fit
from satisfice.core.card import Need
from satisfice.core.engine import Request, Signals, Watch
from satisfice.core.errors import BadInput, EngineError, MissingExtra, Unfit, UnknownName
from satisfice.core.problem import Problem
from satisfice.core.session import Session, solve
from satisfice.engines import load_engine
from satisfice.engines.http.address import base_of, options_in
from satisfice.engines.http.engine import HttpEngine
from satisfice.engines.scripted import SCRIPTED

PROBLEM = Problem(id="a", task="t@1", question="What is 12+34?", answer="46")
THOUGHT = "12+34=46 so 46\nWait, 46-34=12 yes\nWait, once more so 46"


@pytest.fixture(scope="module")
def tokenizer(tiny):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


@pytest.fixture(params=["ids", "text", "plain"])
def server(request, tokenizer):
    """One that speaks like vLLM; one that tells tokens by their text; one that tells nothing but text."""
    options = {
        "ids": {"tokenizer": tokenizer},
        "text": {},
        "plain": {"logprobs": False, "usage": False, "form": False},
    }[request.param]
    with LoopbackServer(**options) as server:
        server.kind = request.param
        yield server


def engine_of(server: LoopbackServer, tiny: Path, **options: object) -> HttpEngine:
    if server.tokenizer is not None:
        return HttpEngine(server.url, tokenizer=str(tiny), **options)
    form = None if server.form else "<|user|>{question}<|assistant|><think>"
    return HttpEngine(server.url, profile=SCRIPTED, template=form, **options)


def run(engine: HttpEngine, policy: str, problem: Problem = PROBLEM, **options: object):
    async def work():
        async with engine:
            return await solve(build(policy), Session(engine, problem, **options))

    return asyncio.run(work())


async def sampled(engine, **request):
    async with engine:
        sequence = engine.open("What is 12+34?", "a")
        return await sequence.sample(Request(**request)), sequence


def test_what_a_server_can_do_is_found_out(server, tiny):
    engine = engine_of(server, tiny)
    found = engine.server
    assert found.model == "toy"
    assert engine.max_length == 4096
    like_vllm = server.kind == "ids"
    assert (found.extended, found.ids, found.stops) == (like_vllm,) * 3
    assert found.cached == (server.kind != "plain")
    assert (Need.LOGPROBS in engine.provides) == (server.kind != "plain")
    assert (Need.TOP_LOGPROBS in engine.provides) == (server.kind == "ids")
    assert {Need.FORK, Need.INJECT, Need.ABORT} <= engine.provides
    assert not {Need.HIDDEN, Need.LOGITS, Need.ENTROPY} & engine.provides
    assert json.loads(json.dumps(engine.describe()))["tokens"] == ("the server's" if found.ids else "by text")


def test_a_chain_is_what_the_server_says(server, tiny):
    engine = engine_of(server, tiny)
    before = server.sent
    solution = run(engine, "full")
    assert not solution.error
    assert (solution.thinking, solution.text, solution.ended) == (THOUGHT, "46", "model")
    computed = server.sent - before
    if server.kind == "ids":
        assert solution.ledger.spent == engine.counters.tokens == computed
    elif server.kind == "text":  # the stream is closed at the end of thinking, which the server sees a little later
        assert solution.ledger.spent == engine.counters.tokens <= computed <= solution.ledger.spent + 8
    assert engine.counters.faults == 0


def test_a_rule_looks_before_its_cue_and_stops(server, tiny):
    engine = engine_of(server, tiny)
    if server.kind == "plain":
        with pytest.raises(Unfit, match="log-prob"):
            check_fit([build("deer")], engine.name, engine.provides)
        solution = run(engine, "first-cue")
    else:
        solution = run(engine, "deer(threshold=0.5)")
        (look,) = [event for event in solution.log if event.kind == "look"]
        assert look.data["value"] == pytest.approx(np.exp(-0.1), abs=1e-3)
        assert look.data["text"] == "46"
    assert not solution.error
    assert (solution.thinking, solution.text, solution.ended) == ("12+34=46 so 46\n", "46", "rule")
    prompts = [r["prompt"] if isinstance(r["prompt"], str) else engine.decode(r["prompt"]) for r in server.requests]
    assert prompts[-1].endswith("<think>12+34=46 so 46\n</think>")


def test_never_firing_a_rule_gives_the_same_chain(server, tiny):
    engine = engine_of(server, tiny)
    never = "es-cot(d_min=1000, trigger=cue)"
    first, second = run(engine, "full"), run(engine, never)
    assert not second.error
    assert [(s.kind, engine.decode(list(s.ids))) for s in first.spans] == [
        (s.kind, engine.decode(list(s.ids))) for s in second.spans
    ]
    if server.kind == "ids":
        assert [s.ids for s in first.spans] == [s.ids for s in second.spans]


def test_in_ids_nothing_is_tokenised_twice(tokenizer, tiny):
    with LoopbackServer(tokenizer=tokenizer) as server:
        engine = engine_of(server, tiny)
        solution = run(engine, "full")
        sent = [i for span in solution.spans if span.kind == "sampled" for i in span.ids]
        assert engine.decode(sent) == THOUGHT + "</think>46" + END
        assert all(isinstance(r["prompt"], list) for r in server.requests[-2:])
        assert (
            server.requests[-1]["prompt"]
            == [i for span in solution.spans for i in span.ids][: -len(sent)]
            + sent[: len(server.requests[-1]["prompt"]) - len(solution.spans[0].ids)]
        )


def test_the_server_stops_at_the_cue_itself_or_the_stream_is_closed(tokenizer, tiny):
    with LoopbackServer(tokenizer=tokenizer) as server:
        engine = engine_of(server, tiny)
        run(engine, "first-cue")
        assert (engine.server.stops, engine.counters.closed, server.hung_up) == (True, 0, 0)
        assert (
            server.connections <= 3
        )  # one for the list of models, one for the other questions, one for the chain: kept alive
    with LoopbackServer(tokenizer=tokenizer, stops=False, pause_s=0.005) as server:
        engine = engine_of(server, tiny)
        before = server.sent
        solution = run(engine, "first-cue")
        assert (engine.server.stops, engine.counters.closed) == (False, 1)
        assert server.hung_up == 1
        assert solution.text == "46"
        assert server.sent - before <= solution.ledger.spent + 4  # the server noticed within a few tokens


def test_cancelling_closes_the_stream_and_books_what_came(tokenizer, tiny):
    async def work(engine):
        async with engine:
            session = Session(engine, PROBLEM)
            async with session:
                chain = session.chain()
                task = asyncio.create_task(chain.think())
                while engine.counters.tokens < 5:  # noqa: ASYNC110 - a real stream, which sets no event
                    await asyncio.sleep(0.005)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                return chain.sampled, session.close_ledger(None)

    with LoopbackServer(tokenizer=tokenizer, pause_s=0.01) as server:
        engine = engine_of(server, tiny)
        booked, ledger = asyncio.run(work(engine))
        assert booked == ledger.dropped == engine.counters.tokens >= 5
        stopped_at = server.sent
        asyncio.run(asyncio.sleep(0.1))
        assert server.sent <= stopped_at + 1
        assert server.hung_up == 1


def test_a_fork_is_a_prefix_and_what_is_computed_again_is_counted(tokenizer, tiny):
    long = Problem(id="b", task="t@1", question="What is 12+34? " * 10, answer="46")

    async def work(engine):
        async with engine, Session(engine, long) as session:
            chain = session.chain()
            await chain.think(until=("Wait",))
            probe = chain.probe().inject("</think>")
            await probe.sample(2, greedy=True)
            known = len(chain.ids)
            session.close_ledger(chain)
            return known, probe.prefilled, chain.prefilled, session.ledger.prefilled

    with LoopbackServer(tokenizer=tokenizer) as server:
        known, again, first, total = asyncio.run(work(engine_of(server, tiny)))
        assert first == 0
        assert 0 <= again < 16 < known  # all but the last block was in the cache
        assert total == again
    with LoopbackServer(tokenizer=tokenizer, cached=False) as server:
        engine = engine_of(server, tiny)
        known, again, first, _ = asyncio.run(work(engine))
        assert (again, first) == (known, 0)
        assert "at most" in engine.describe()["prefilled"]


def test_signals_come_with_their_tokens(tokenizer, tiny):
    with LoopbackServer(tokenizer=tokenizer) as server:
        engine = engine_of(server, tiny)
        got, sequence = asyncio.run(sampled(engine, limit=7, signals=Signals(logprobs=True, top_logprobs=5)))
        assert got.logprobs.shape == (7,)
        np.testing.assert_allclose(got.logprobs, -0.1, atol=1e-6)
        assert got.top_logprobs.shape == got.top_ids.shape == (7, 5)
        np.testing.assert_allclose(got.top_logprobs[0], [-0.1, -1.1, -2.1, -3.1, -4.1], atol=1e-5)
        assert got.top_ids[:, 0].tolist() == list(got.ids) == sequence.ids[-7:]


def test_a_watch_stops_at_its_token(tokenizer, tiny):
    with LoopbackServer(tokenizer=tokenizer) as server:
        engine = engine_of(server, tiny)
        got, _ = asyncio.run(sampled(engine, limit=30, watch=Watch(signal="logprob", above=-0.2, window=3)))
        assert (got.reason, len(got.ids)) == ("signal", 3)
        got, _ = asyncio.run(sampled(engine, limit=30, watch=Watch(signal="confidence", above=1.0)))
        assert (got.reason, len(got.ids)) == ("signal", 1)
        got, _ = asyncio.run(sampled(engine, limit=6, watch=Watch(signal="confidence", below=1.0)))
        assert (got.reason, len(got.ids)) == ("length", 6)


def test_logprobs_that_depend_on_the_temperature_are_not_offered(tokenizer, tiny):
    with LoopbackServer(tokenizer=tokenizer, honest=False) as server:
        engine = engine_of(server, tiny)
        assert not engine.server.logprobs
        assert not {Need.LOGPROBS, Need.TOP_LOGPROBS} & engine.provides
        with pytest.raises(EngineError, match="log-probabilities"):
            asyncio.run(sampled(engine, limit=3, signals=Signals(logprobs=True)))


def test_a_server_with_few_top_logprobs_offers_the_chosen_one(tokenizer, tiny):
    with LoopbackServer(tokenizer=tokenizer, top=5) as server:
        engine = engine_of(server, tiny)
        assert engine.server.top == 5
        assert Need.LOGPROBS in engine.provides
        assert Need.TOP_LOGPROBS not in engine.provides
        with pytest.raises(EngineError, match="20 log-probabilities"):
            asyncio.run(sampled(engine, limit=3, watch=Watch(signal="confidence", above=1.0)))


def test_what_servers_cannot_do_is_refused(tokenizer, tiny):
    with LoopbackServer(tokenizer=tokenizer) as server:
        engine = engine_of(server, tiny)
        for request in (
            {"limit": 3, "sampler": lambda scores: scores}, {"limit": 3, "signals": Signals(entropy=True)},
            {"limit": 3, "signals": Signals(hidden=(-1,))},
        ):  # fmt: skip
            with pytest.raises(EngineError):
                asyncio.run(sampled(engine, **request))


@pytest.mark.parametrize("burst", [2, 3, 5])
@pytest.mark.parametrize("usage", [True, False])
def test_limits_and_cues_hold_although_text_comes_in_bursts(usage, burst):
    with LoopbackServer(logprobs=False, usage=usage, burst=burst) as server:
        engine = HttpEngine(server.url, profile=SCRIPTED)
        got, _ = asyncio.run(sampled(engine, limit=8))
        assert (got.reason, len(got.ids)) == ("length", 8)
        assert engine.decode(list(got.ids)) == "12+34=46 so "
        whole, cut = run(engine, "full"), run(engine, "first-cue")
        assert (whole.error, whole.thinking, whole.text) == ("", THOUGHT, "46")
        assert (cut.error, cut.thinking, cut.text) == ("", "12+34=46 so 46\n", "46")


@pytest.mark.parametrize("field", ["thinking_token_budget", "thinking_budget"])
def test_a_budget_that_the_server_keeps_is_used(tokenizer, tiny, field):
    with LoopbackServer(tokenizer=tokenizer, budget=field) as server:
        engine = engine_of(server, tiny)
        assert Need.BUDGET in engine.provides
        solution = run(engine, "server-thinking-budget(tokens=9)")
        assert (solution.error, solution.text, solution.ended) == ("", "46", "model")
        assert engine.encode(solution.thinking) == engine.encode(THOUGHT)[:9]
        assert solution.ledger.injected == 0


@pytest.mark.parametrize("field", ["thinking_token_budget", "stop"])
def test_what_a_server_chokes_on_in_the_middle_it_cannot_do(tokenizer, tiny, field):
    """vLLM accepts a budget that it is not set up for, and says so where tokens should be."""
    with LoopbackServer(tokenizer=tokenizer, chokes_on=field) as server:
        engine = engine_of(server, tiny)
        assert (engine.server.budget, engine.server.stops) == (None, field != "stop")
        assert run(engine, "full").text == "46"


def test_a_budget_that_the_server_takes_and_ignores_is_not_offered(tokenizer, tiny):
    with LoopbackServer(tokenizer=tokenizer) as server:
        engine = engine_of(server, tiny)
        assert any("thinking_token_budget" in body for body in server.requests)
        with pytest.raises(Unfit, match="server-thinking-budget"):
            check_fit([build("server-thinking-budget")], engine.name, engine.provides)
        with pytest.raises(EngineError, match="by itself"):
            asyncio.run(sampled(engine, limit=3, thinking_budget=2))


def test_seeds_follow_key_and_position(tokenizer, tiny):
    with LoopbackServer(tokenizer=tokenizer) as server:
        engine = engine_of(server, tiny)
        seeds = {}
        for seed in (0, 1, 0):
            begin = len(server.requests)
            run(engine, "first-cue", seed=seed)
            seeds.setdefault(seed, []).append([r["seed"] for r in server.requests[begin:]])
        assert seeds[0][0] == seeds[0][1] != seeds[1][0]
        assert all(0 <= s < 2**31 for line in seeds[0] for s in line)
        assert len(set(seeds[0][0])) == len(seeds[0][0]) > 1


def test_streams_at_once_are_bounded(tokenizer, tiny):
    async def work(engine):
        async with engine:
            problems = [Problem(id=str(i), task="t@1", question=f"What is {i}?", answer="46") for i in range(9)]
            return await asyncio.gather(*(solve(build("full"), Session(engine, p)) for p in problems))

    with LoopbackServer(tokenizer=tokenizer, pause_s=0.002) as server:
        solutions = asyncio.run(work(engine_of(server, tiny, connections=3)))
        assert {s.text for s in solutions} == {"46"}
        assert server.most == 3


def test_the_tokenizer_is_found_when_the_server_names_a_folder_here(tokenizer, tiny):
    with LoopbackServer(tokenizer=tokenizer) as server:
        server.root = str(tiny)
        engine = load_engine(server.url)
        assert isinstance(engine, HttpEngine)
        assert engine.server.ids
        assert engine.profile.name == "tiny"


def test_a_tokenizer_of_another_model_is_refused(tokenizer, tmp_path):
    from tests.engines.conftest import save_tiny

    other = save_tiny(tmp_path / "other")
    spoilt = json.loads((other / "tokenizer.json").read_text())
    vocabulary = spoilt["model"]["vocab"]
    digits = [vocabulary[d] for d in "123456"]
    vocabulary.update(zip("123456", digits[1:] + digits[:1], strict=True))
    (other / "tokenizer.json").write_text(json.dumps(spoilt))
    with LoopbackServer(tokenizer=tokenizer) as server, pytest.raises(BadInput, match=r"tokenizer in .*other"):
        HttpEngine(server.url, tokenizer=str(other))


def test_special_tokens_that_nobody_shows_are_refused(tiny):
    with LoopbackServer(extended=False) as server, pytest.raises(BadInput, match="special token"):
        HttpEngine(server.url, tokenizer=str(tiny))


def test_a_server_that_shows_no_chat_form_needs_one(tiny):
    with LoopbackServer(form=False) as server:
        with pytest.raises(BadInput, match="template"):
            HttpEngine(server.url)
        with pytest.raises(BadInput, match=r"\{question\}"):
            HttpEngine(server.url, template="nothing")


def test_several_models_need_a_name(tokenizer, tiny):
    with LoopbackServer(models=("one", "two")) as server:
        with pytest.raises(BadInput, match=r"one, two.*\?model="):
            HttpEngine(server.url)
        engine = load_engine(f"{server.url}/v1?model=two&connections=2", profile=SCRIPTED)
        assert engine.describe()["model"] == "two"
        assert {r["model"] for r in server.requests} == {"two"}


def test_a_broken_list_of_models_matters_only_to_those_who_need_it(tiny):
    with LoopbackServer(lists=False) as server:
        with pytest.raises(BadInput, match="500"):
            engine_of(server, tiny)
        assert run(engine_of(server, tiny, model="toy"), "full").text == "46"


def test_nobody_there():
    with LoopbackServer() as server:
        url = server.url
    with pytest.raises(BadInput, match="Is it running"):
        HttpEngine(url)


def test_the_key_goes_to_the_server_and_nowhere_else(monkeypatch, caplog, tokenizer, tiny):
    secret = "sk-very-secret-123"
    with LoopbackServer(tokenizer=tokenizer, key=secret) as server:
        with pytest.raises(BadInput, match="SATISFICE_API_KEY") as refused:
            HttpEngine(server.url, tokenizer=str(tiny))
        monkeypatch.setenv("SATISFICE_API_KEY", "sk-wrong-key-456")
        with pytest.raises(BadInput) as wrong:
            HttpEngine(server.url, tokenizer=str(tiny))
        monkeypatch.setenv("MY_KEY", secret)
        caplog.set_level("DEBUG")
        engine = HttpEngine(server.url, tokenizer=str(tiny), key_env="MY_KEY")
        assert run(engine, "full").text == "46"
        assert server.headers[-1]["authorization"] == f"Bearer {secret}"
        shown = (
            caplog.text + str(refused.value) + str(wrong.value) + repr(engine.address) + json.dumps(engine.describe())
        )
        assert secret not in shown
        assert "sk-wrong-key-456" not in shown


def test_addresses():
    assert options_in("http://h:1?model=a&silence_s=2.5&max_length=99") == {
        "model": "a", "silence_s": 2.5, "max_length": 99,
    }  # fmt: skip
    with pytest.raises(UnknownName, match="Did you mean 'tokenizer'"):
        options_in("http://h:1?tokeniser=a")
    with pytest.raises(BadInput, match="number"):
        options_in("http://h:1?connections=many")
    with pytest.raises(BadInput, match="password"):
        base_of("http://me:secret@h:1")
    for address in ("ftp://h", "http://", "h:1"):
        with pytest.raises(BadInput, match="http"):
            base_of(address)
    with pytest.raises(BadInput, match="connections"):
        HttpEngine("http://127.0.0.1:1", connections=0)


def test_a_question_that_is_too_long_is_refused(tokenizer, tiny):
    with LoopbackServer(tokenizer=tokenizer) as server:
        engine = engine_of(server, tiny, max_length=30)
        with pytest.raises(BadInput, match="leaves no room"):
            engine.open("What is 12+34? " * 9, "a")


def test_without_its_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    for name in [m for m in sys.modules if m.startswith("satisfice.engines.http")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtra, match=r"satisfice\[http\]"):
        load_engine("http://127.0.0.1:1")


def test_a_server_that_shows_its_chat_form_needs_neither_torch_nor_transformers():
    asked = "import sys, satisfice.engines.http.engine; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_text_is_kept_as_it_came_whatever_its_pieces():
    from satisfice.engines.http.chunk import Chunk
    from satisfice.models.words import TextWords

    words = TextWords()
    half = Chunk(text="", pieces=("\ufffd",), logprobs=(-1.0,)).by_text(words)
    whole = Chunk(text="é", pieces=("\ufffd",), logprobs=(-2.0,)).by_text(words)
    assert [t.logprob for t in half + whole] == [-1.0, -2.0]
    assert words.decode([t.id for t in half + whole]) == "é"
    last = Chunk(text="", pieces=("<|end|>",), logprobs=(-0.5,), finish="stop").by_text(words)
    assert [(t.id, t.logprob) for t in last] == [(words.END, -0.5)]
    assert words.decode(words.encode("Wait, 12+34 = </think>\n")) == "Wait, 12+34 = </think>\n"
    assert len(words.encode("</think>")) > 1  # so that a chain looks for it as text


@given(st.lists(st.text(max_size=12), max_size=30), st.integers(1, 8))
def test_text_that_is_too_much_to_remember_is_still_what_it_was(texts, known):
    from satisfice.models import words as _words

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_words, "KNOWN", known)
        words = _words.TextWords()
        ids = [words.number(text) for text in texts]
        assert [words.decode([i]) for i in ids] == texts
        assert [words.number(text) for text in texts] == ids
        assert len(set(ids)) == len(set(texts))
        assert words.END not in ids
        assert words.decode(words.encode("".join(texts))) == "".join(texts)
        assert b"".join(words.piece(i) for i in ids) == "".join(texts).encode()
        assert len(words._pieces) <= max(known, 1)


def test_halves_of_characters_from_a_server_are_no_error_of_ours():
    from satisfice.models.words import TextWords

    words = TextWords()
    assert words.piece(words.number("\ud83d")) == b"?"
    assert words.decode([words.number("\ud83d")]) == "\ud83d"


def test_chains_are_the_same_when_no_piece_is_remembered(tiny, monkeypatch):
    from satisfice.models import words as _words

    with LoopbackServer() as server:
        usual = run(engine_of(server, tiny), "first-cue")
        monkeypatch.setattr(_words, "KNOWN", 3)
        engine = engine_of(server, tiny)
        found = run(engine, "first-cue")
        assert (found.thinking, found.text, found.ended) == (usual.thinking, usual.text, usual.ended)
        assert found.ledger.spent == usual.ledger.spent
        assert len(engine.words._pieces) == 3
