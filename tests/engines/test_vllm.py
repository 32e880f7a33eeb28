"""Real vLLM, its engine in this process and its server, on the pocket model in float32, held against the local engine.

`make test-vllm` runs this in an environment of vLLM's own. Nothing here depends on particular weights.
"""

import asyncio
import contextlib
import importlib.util
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.engines.servers import metrics, real_server

from satisfice.catalog import build, check_fit
from satisfice.core.card import Need
from satisfice.core.engine import Request, Signals, Watch
from satisfice.core.errors import EngineError
from satisfice.core.session import Session, solve
from satisfice.engines import load_engine
from satisfice.engines.http import probe as _http_probe
from satisfice.engines.http.engine import HttpEngine
from satisfice.engines.local.engine import LocalEngine
from satisfice.measure.store import read_samples
from satisfice.models.resolve import model_folder
from satisfice.tasks import load_task
from satisfice.testing import check_engine

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("default"),  # vLLM's own
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here: make test-vllm"),
]

BLOCK = 32  # tokens that the prefix cache keeps or loses together: the fewest that vLLM takes on a CPU
LATE = 64  # tokens that a server may compute between our closing a stream and its noticing, at several hundred a second
TIE = 1e-4  # nats between the two best tokens within which engines may differ


class Home:
    """An event loop in a thread of its own, in which engines stay open from test to test."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open = contextlib.AsyncExitStack()

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(900)

    def enter(self, engine):
        return self.do(self._open.enter_async_context(engine))

    def close(self):
        self.do(self._open.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def home():
    home = Home()
    yield home
    home.close()


@pytest.fixture(scope="module")
def local(home):
    return home.enter(LocalEngine("pocket", dtype="float32"))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A vLLM server as a user would start it, with a small block so that a prefix is shared nearly to its end."""
    marks = {"reasoning_start_str": "<think>", "reasoning_end_str": "</think>"}
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model_folder("pocket")),
        "--dtype", "float32", "--enforce-eager", "--enable-prompt-tokens-details", "--block-size", str(BLOCK),
        "--reasoning-config", json.dumps(marks), "--port", "{port}",
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with real_server(command, "/health", log=log, wait_s=600, VLLM_CPU_KVCACHE_SPACE="1") as base:
        yield base


@pytest.fixture(scope="module")
def http(home, address):
    return home.enter(load_engine(address))


@pytest.fixture(scope="module")
def inside(home):
    from satisfice.engines.vllm import VllmEngine

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        engine = VllmEngine("pocket", dtype="float32", arguments={"enforce_eager": True, "block_size": BLOCK})
        yield home.enter(engine)


@pytest.fixture(params=["http", "vllm"])
def engine(request):
    return request.getfixturevalue({"http": "http", "vllm": "inside"}[request.param])


def problems(limit):
    return [p for tier in ("easy", "medium", "hard") for p in load_task(f"chain-sum:{tier}", limit=limit).problems]


def answers(home, engine, policy, asked, **options):
    async def work():
        gate = asyncio.Semaphore(32)

        async def one(problem):
            async with gate:
                return await solve(build(policy), Session(engine, problem, **{"temperature": 0.0} | options))

        return await asyncio.gather(*map(one, asked))

    return home.do(work())


def sampled(home, engine, **request):
    async def work():
        chain = engine.open("1 + 2 - 3 + 44", "a")
        return await chain.sample(Request(**request)), chain

    return home.do(work())


def tokens(solution):
    return [i for span in solution.spans for i in span.ids]


def first_difference(a, b):
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def after(home, engine, ids, limit=1, **signals):
    """What comes greedily after these tokens."""

    async def work():
        sequence = engine.open("1", "after")
        sequence.cut(0)
        sequence.extend(ids)
        return await sequence.sample(Request(limit=limit, temperature=0.0, signals=Signals(**signals)))

    return home.do(work())


def gap(home, engine, ids):
    """How far the two best next tokens lie apart."""
    best = after(home, engine, ids, top_logprobs=2).top_logprobs[0]
    return float(best[0] - best[1])


# Parity


@pytest.fixture(scope="module")
def greedy(home, local):
    asked = problems(40)
    return asked, answers(home, local, "full", asked)


def test_greedy_chains_are_those_of_the_local_engine(home, local, engine, greedy):
    asked, ours = greedy
    theirs = answers(home, engine, "full", asked)
    assert not [s.error for s in ours + theirs if s.error]
    apart = [(a, b) for a, b in zip(map(tokens, ours), map(tokens, theirs), strict=True) if a != b]
    for a, b in apart:
        assert gap(home, local, a[: first_difference(a, b)]) < TIE
    assert len(apart) <= 0.01 * len(asked)
    alike = [(x.ended, x.text, x.ledger.kept, [s.kind for s in x.spans]) for x in theirs]
    ours_alike = [(x.ended, x.text, x.ledger.kept, [s.kind for s in x.spans]) for x in ours]
    assert sum(a != b for a, b in zip(alike, ours_alike, strict=True)) <= len(apart)


def test_policies_look_and_stop_where_they_do_on_the_local_engine(home, local, engine):
    asked, different, total = problems(12), Counter(), 0
    for policy in ("first-cue", "cap:48", "deer", "es-cot(d_min=2, trigger=cue)"):
        ours, theirs = (answers(home, e, policy, asked) for e in (local, engine))
        assert not [s.error for s in ours + theirs if s.error]
        for a, b in zip(ours, theirs, strict=True):
            total += 1
            told = [
                (s.ended, s.text, s.ledger.kept, s.ledger.probe, s.ledger.dropped, s.ledger.injected) for s in (a, b)
            ]
            different[policy] += told[0] != told[1]
    assert sum(different.values()) <= 0.01 * total + 1, different


def test_logprobs_are_the_models_own_before_temperature(home, local, engine):
    asked = {"limit": 24, "signals": Signals(logprobs=True, top_logprobs=20)}
    (ours, _), (theirs, _) = (sampled(home, e, temperature=0.0, **asked) for e in (local, engine))
    assert ours.ids == theirs.ids
    np.testing.assert_allclose(theirs.logprobs, ours.logprobs, atol=1e-3)
    np.testing.assert_allclose(theirs.top_logprobs, ours.top_logprobs, atol=1e-3)
    hot, sequence = sampled(home, engine, temperature=1.7, key=5, **asked)
    for n, (token, logprob) in enumerate(zip(hot.ids, hot.logprobs, strict=True)):
        at = len(sequence.ids) - len(hot.ids) + n
        step = after(home, local, sequence.ids[:at], top_logprobs=500)
        line = dict(zip(step.top_ids[0].tolist(), step.top_logprobs[0].tolist(), strict=True))
        assert logprob == pytest.approx(line[token], abs=2e-3)


def test_without_token_ids_the_text_is_the_same(home, address, http, monkeypatch):
    monkeypatch.setattr(_http_probe, "_tokenizer", lambda given, name, row: None)
    engine = home.enter(HttpEngine(address, profile=http.profile))
    assert (engine.server.ids, engine.describe()["tokens"]) == (False, "by text")
    asked = problems(8)
    for policy in ("full", "first-cue"):
        with_ids, by_text = (answers(home, e, policy, asked) for e in (http, engine))
        assert not [s.error for s in by_text if s.error]
        pairs = list(zip(with_ids, by_text, strict=True))
        assert sum((a.thinking, a.text, a.ended) != (b.thinking, b.text, b.ended) for a, b in pairs) <= 1
        assert sum(a.ledger.spent != b.ledger.spent for a, b in pairs) <= 1


# What it costs


def test_a_fork_is_a_prefix_hit(home, engine):
    async def work():
        async with Session(engine, problems(1)[2], temperature=0.0) as session:
            chain = session.chain()
            await chain.think(limit=100)
            probe = chain.probe().inject("</think>")
            known = len(probe.ids)
            await probe.sample(4, greedy=True)
            return known, probe.prefilled, chain.prefilled

    known, again, first = home.do(work())
    assert first == 0
    assert again < 2 * BLOCK < known  # but for what is left of a block


def test_the_servers_own_counters_see_the_prefix_hit(home, http, address):
    async def work():
        async with Session(http, problems(1)[2], temperature=0.0) as session:
            chain = session.chain()
            await chain.think(limit=100)
            before = metrics(address, "vllm:prefix_cache_hits_total")
            probe = chain.probe().inject("</think>")
            await probe.sample(4, greedy=True)
            return len(probe.ids), metrics(address, "vllm:prefix_cache_hits_total") - before

    known, hit = home.do(work())
    assert known - 2 * BLOCK < hit <= known


def endless(engine):
    """A request that goes on for a thousand tokens unless somebody stops it."""
    return {"limit": 1000, "bias": dict.fromkeys(engine.end_ids, -100.0), "key": 3}


def test_closing_the_stream_stops_the_servers_tokens(home, http, address):
    def computed():
        return metrics(address, "vllm:generation_tokens_total")

    async def cancelled():
        before, sequence = http.counters.tokens, http.open("1 + 2", "a")
        task = asyncio.create_task(sequence.sample(Request(**endless(http))))
        while http.counters.tokens < before + 40:  # noqa: ASYNC110 - a real stream, which sets no event
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(sequence.last.ids)

    async def watched():
        watch = Watch(signal="logprob", above=-100.0, window=40)
        return len((await http.open("1 + 2", "a").sample(Request(**endless(http), watch=watch))).ids)

    for work in (cancelled, watched):
        before, closed = computed(), http.counters.closed
        kept = home.do(work())
        assert kept >= 40
        deadline = time.monotonic() + 30
        while metrics(address, "vllm:num_requests_running") > 0:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        stopped = computed()
        time.sleep(1.0)
        assert computed() == stopped
        assert kept <= stopped - before <= kept + LATE
    assert http.counters.closed == closed + 1  # the watch's; a cancelled stream is not counted as closed at a stop


def test_cancelling_frees_the_engine_in_this_process(home, inside):
    async def work():
        sequence = inside.open("1 + 2", "a")
        task = asyncio.create_task(sequence.sample(Request(**endless(inside))))
        while len(sequence.ids) < 60:  # noqa: ASYNC110 - tokens come, and set no event
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert inside._llm.output_processor.get_num_unfinished_requests() == 0
        return sequence.last

    last = home.do(work())
    assert last.reason == "cancelled"
    assert 0 < len(last.ids) < 1000


# What it offers


def test_the_engine_in_this_process_keeps_the_contract():
    from satisfice.engines.vllm import VllmEngine

    left_out = check_engine(lambda: VllmEngine("pocket", dtype="float32", max_length=512))
    assert set(left_out) == {
        "gives_entropy", "gives_hidden_states", "biases_and_filters", "gives_its_output_matrix"
    }  # fmt: skip


def test_both_offer_what_they_were_found_to_give(engine):
    most = {Need.FORK, Need.INJECT, Need.ABORT, Need.LOGPROBS, Need.TOP_LOGPROBS, Need.BUDGET, Need.RENDER}
    assert engine.provides == most
    for policy in ("deer", "server-thinking-budget"):
        check_fit([build(policy)], engine.name, engine.provides)


def test_the_thinking_budget_of_vllm_is_kept_to_the_token(home, engine):
    asked = problems(6)
    theirs, outside = (
        answers(home, engine, policy, asked) for policy in ("server-thinking-budget(tokens=24)", "cap:24")
    )
    assert not [s.error for s in theirs if s.error]
    assert max(len(engine.encode(s.thinking)) for s in theirs) == 24
    assert sum(a.thinking != b.thinking for a, b in zip(theirs, outside, strict=True)) <= 1


def test_a_bias_is_obeyed_and_a_sampler_refused(home, engine):
    free, _ = sampled(home, engine, limit=3, temperature=0.0)
    banned, _ = sampled(home, engine, limit=3, temperature=0.0, bias={free.ids[0]: -100.0})
    assert free.ids[0] not in banned.ids
    with pytest.raises(EngineError, match="local engine"):
        sampled(home, engine, limit=3, sampler=lambda scores: scores)


def test_the_end_of_the_turn_ends_nothing_unless_it_is_asked_for(home, local, engine):
    [whole] = answers(home, local, "full", problems(1)[:1])
    *before, end = tokens(whole)
    assert end in local.end_ids
    ours, theirs = (after(home, e, before, limit=6) for e in (local, engine))
    assert ours.ids[0] == theirs.ids[0] == end
    assert len(ours.ids) == len(theirs.ids) == 6


# As a user types it


@pytest.mark.parametrize("model", ["ADDRESS", "vllm:pocket?dtype=float32&max_length=1024"])
def test_bench_and_doctor_on_the_command_line(model, address, tmp_path):
    model = model.replace("ADDRESS", address + "/v1")
    command = [sys.executable, "-m", "satisfice.cli"]
    done = subprocess.run(
        [*command, "bench", "--model", model, "--tasks", "chain-sum:easy", "--policies", "full,first-cue,deer",
         "--limit", "6", "--out", str(tmp_path / "run")], capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = list(read_samples(tmp_path / "run"))
    assert len(rows) == 18
    assert not [row["error"] for row in rows if row["error"]]
    environment = json.loads(Path(tmp_path / "run" / "results.json").read_text())["environment"]
    assert environment["engine"] == ("vllm" if model.startswith("vllm:") else "http")
    if not model.startswith("vllm:"):
        report = subprocess.run(
            [*command, "doctor", "--model", model, "--json"], capture_output=True, text=True, timeout=300
        )
        told = json.loads(report.stdout)
        assert told["engines"]["vllm"]["ready"], told["engines"]["vllm"]["why"]
        assert "top-logprobs" in told["model"]["provides"]
