"""What goes wrong with servers: each fault on a real socket, and what becomes of the chain, the ledger and the run."""

import asyncio
import json
import re
import threading
import time

import pytest
from tests.engines.servers import Fault, LoopbackServer

from satisfice.catalog import build
from satisfice.core.card import Need
from satisfice.core.problem import Problem
from satisfice.core.session import Session, solve
from satisfice.engines.http.engine import HttpEngine
from satisfice.engines.scripted import SCRIPTED
from satisfice.measure.plan import make_plan
from satisfice.measure.run import run_bench
from satisfice.measure.store import read_samples

PROBLEM = Problem(id="a", task="t@1", question="What is 12+34?", answer="46")
THOUGHT = "12+34=46 so 46\nWait, 46-34=12 yes\nWait, once more so 46"


@pytest.fixture(scope="module")
def tokenizer(tiny):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


@pytest.fixture
def server(tokenizer):
    with LoopbackServer(tokenizer=tokenizer) as server:
        yield server


def engine_of(server, tiny, **options):
    return HttpEngine(server.url, tokenizer=str(tiny), **{"patience_s": 5.0, "silence_s": 5.0} | options)


def run(engine, policy="full", problem=PROBLEM):
    async def work():
        async with engine:
            return await solve(build(policy), Session(engine, problem))

    return asyncio.run(work())


def whole(solution):
    assert solution.error == ""
    assert (solution.thinking, solution.text) == (THOUGHT, "46")
    return True


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=503), Fault("status", status=500), Fault("status", status=429),
        Fault("status", status=429, headers={"retry-after": "0.3"}), Fault("refuse"), Fault("cut"), Fault("end"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}-{len(fault.headers)}",
)  # fmt: skip
def test_before_the_first_token_it_is_tried_again(server, tiny, fault):
    engine = engine_of(server, tiny)
    server.faults.extend([fault, fault])
    assert whole(run(engine))
    assert engine.counters.faults == 2


def test_retry_after_is_kept_to(server, tiny):
    engine = engine_of(server, tiny)
    server.faults.append(Fault("status", status=429, headers={"retry-after": "1.2"}))
    begin = time.monotonic()
    assert whole(run(engine))
    assert time.monotonic() - begin >= 1.2


@pytest.mark.parametrize("kind", ["cut", "end"])
def test_a_stream_that_breaks_off_goes_on_from_its_last_token(server, tiny, kind):
    engine = engine_of(server, tiny)
    server.faults.extend([Fault(kind, after=7), Fault(kind, after=3)])
    begin, before = server.sent, len(server.requests)
    solution = run(engine)
    assert whole(solution)
    assert solution.ledger.spent == server.sent - begin  # no token was asked for twice
    asked = [r["max_tokens"] for r in server.requests[before:]]
    assert asked[1] == asked[0] - 7
    assert asked[2] == asked[1] - 3
    assert len(server.requests[before + 1]["prompt"]) == len(server.requests[before]["prompt"]) + 7


def test_a_cue_over_a_break_is_still_found(server, tiny):
    engine = engine_of(server, tiny)
    text = "12+34=46 so 46\nWa"
    cut_in_cue = next(
        n for n in range(1, 60) if engine.decode(engine.encode("12+34=46 so 46\nWait")[:n]).startswith(text[:-1])
    )
    server.faults.append(Fault("cut", after=cut_in_cue))
    solution = run(engine, "first-cue")
    assert (solution.error, solution.thinking) == ("", "12+34=46 so 46\n")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("status", status=503), "answered 503: try later .given up after [0-9]+ tries"),
        (Fault("status", status=429, headers={"retry-after": "3600"}), "answered 429: try later .given up after 1 try"),
        (Fault("hang", after=4), r"silent for (0\.2|2) s"),
        (Fault("hang", after=0), "silent for 2 s"),
        (Fault("refuse"), "connection failed"),
    ],
    ids=["503", "429-for-an-hour", "hang-midway", "hang", "refuse"],
)
def test_patience_ends_and_the_problem_fails_with_what_it_spent(server, tiny, fault, message):
    engine = engine_of(server, tiny, patience_s=0.8, silence_s=0.2)
    server.faults.extend([fault, *[Fault(fault.kind, status=fault.status) for _ in range(40)]])
    begin = time.monotonic()
    solution = run(engine)
    assert solution.error.startswith("EngineError")
    assert re.search(message, solution.error), solution.error
    assert solution.ledger.dropped == solution.ledger.spent == fault.after
    assert time.monotonic() - begin < 4


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("status", status=400, message="no such thing"), "answered 400: no such thing"),
        (Fault("status", status=404, message="no model"), "answered 404: no model"),
        (Fault("garbage", after=5), "no JSON"),
        (Fault("no_json", after=5), "no object"),
        (Fault("strange", after=5), "not OpenAI's"),
        (Fault("error", after=5, message="out of memory"), "broke off: out of memory"),
        (Fault("filter", after=5), "content_filter"),
        (Fault("plain"), "does not stream"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_what_cannot_be_trusted_is_not_tried_again(server, tiny, fault, message):
    engine = engine_of(server, tiny)
    server.faults.append(fault)
    before = len(server.requests)
    solution = run(engine)
    assert solution.error.startswith(("EngineError", "Refused"))
    assert message in solution.error
    assert len(server.requests) == before + 1
    assert solution.ledger.spent == fault.after


def test_a_context_that_is_full_ends_the_chain_with_what_there_is(server, tiny):
    engine = engine_of(server, tiny)
    server.faults.append(Fault("length", after=5))
    before, known = len(server.requests), engine.max_length
    solution = run(engine)
    assert (solution.error, solution.ended, solution.ledger.spent) == ("", "limit", 5)
    assert engine.max_length < known  # it is known from now on
    assert len(server.requests) == before + 1


@pytest.mark.parametrize("kind", ["few_top", "no_logprobs"])
def test_fewer_logprobs_than_asked(server, tiny, kind):
    engine = engine_of(server, tiny)
    from satisfice.core.engine import Request, Signals
    from satisfice.core.errors import EngineError

    async def work():
        async with engine:
            sequence = engine.open("What is 12+34?", "a")
            prompt = len(sequence.ids)
            server.faults.append(Fault(kind))
            with pytest.raises(EngineError, match="the server sent"):
                await sequence.sample(Request(limit=5, signals=Signals(logprobs=True, top_logprobs=20)))
            return len(sequence.ids) - prompt, sequence.last

    added, last = asyncio.run(work())
    assert (added, last.ids) == (0, ())


# A whole run


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(f'{{"question": "12+34 ({i})", "answer": "46"}}\n' for i in range(12)), "utf-8")
    return path


def bench(engine, questions, out, *, policies="full,first-cue", concurrency=4):
    plan = make_plan(
        model="http", tasks=[str(questions)], policies=policies, limit=None, concurrency=concurrency, max_tokens=80
    )
    return asyncio.run(run_bench(plan, engine, out))


def test_a_run_goes_on_when_problems_fail_and_says_which(server, tiny, questions, tmp_path):
    engine = engine_of(server, tiny)
    server.faults.extend([Fault("garbage", after=5), Fault("none"), Fault("status", status=400, message="odd")])
    bench(engine, questions, tmp_path / "run", policies="full")
    rows = list(read_samples(tmp_path / "run"))
    failed = [row for row in rows if row["error"]]
    assert len(rows) == 12
    assert len(failed) == 2
    assert {row["verdict"] for row in rows if not row["error"]} == {"right"}
    assert any("no JSON" in row["error"] and row["spent"] == 5 for row in failed)
    assert any("odd" in row["error"] and row["spent"] == 0 for row in failed)


def test_a_server_that_dies_and_comes_back_costs_a_run_nothing(tokenizer, tiny, questions, tmp_path):
    with LoopbackServer(tokenizer=tokenizer, pause_s=0.002) as server:
        engine = engine_of(server, tiny, patience_s=20.0)

        def doctor():
            while engine.counters.tokens < 150:  # of about 540: chains are done, and others half done
                time.sleep(0.002)
            server.stop()
            time.sleep(0.7)
            server.start()

        helper = threading.Thread(target=doctor)
        helper.start()
        bench(engine, questions, tmp_path / "run")
        helper.join()
        rows = list(read_samples(tmp_path / "run"))
        assert len(rows) == 24
        assert [row["error"] for row in rows if row["error"]] == []
        assert {row["verdict"] for row in rows} == {"right"}
        assert engine.counters.faults > 0
        assert json.loads((tmp_path / "run" / "results.json").read_text())["environment"]["engine"] == "http"


@pytest.mark.parametrize("policy", ["full", "first-cue"])
def test_a_server_that_closes_connections_it_announced_to_keep_is_used_all_the_same(tiny, policy):
    with LoopbackServer(leaves=True) as server:
        engine = HttpEngine(server.url, profile=SCRIPTED)
        solution = run(engine, policy=policy)
        assert (solution.error, solution.text) == ("", "46")
        assert engine.counters.faults == 0
        assert server.connections > 1


def test_a_context_that_is_found_full_ends_the_chain_with_what_it_has(tiny):
    with LoopbackServer(slot=34) as server:
        engine = HttpEngine(server.url, profile=SCRIPTED)
        assert engine.max_length == 34
        engine.max_length = 4096  # as of a server that does not tell
        solution = run(engine, policy="full")
        assert solution.error == ""
        assert (solution.ended, solution.text) == ("limit", "")
        assert solution.thinking.startswith("12+34=46")
        assert engine.max_length < 60


def test_log_probabilities_in_the_form_of_chat_are_believed(tiny):
    with LoopbackServer(chat_logprobs=True) as server:
        engine = HttpEngine(server.url, profile=SCRIPTED)
        assert Need.LOGPROBS in engine.provides
    with LoopbackServer(chat_logprobs=True, honest=False) as server:
        assert Need.LOGPROBS not in HttpEngine(server.url, profile=SCRIPTED).provides
