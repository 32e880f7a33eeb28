"""`transformers serve`, a server that speaks text alone: chains over it are those of the local engine."""

import asyncio
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest
from tests.engines.servers import real_server

from satisfice.catalog import build, check_fit
from satisfice.core.card import Need
from satisfice.core.engine import Request, Signals
from satisfice.core.errors import BadInput, Unfit
from satisfice.core.session import Session, solve
from satisfice.engines import load_engine
from satisfice.engines.local.engine import LocalEngine
from satisfice.models.resolve import model_folder
from satisfice.tasks import load_task

MISSING = [name for name in ("accelerate", "fastapi", "openai", "uvicorn") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"transformers serve needs {', '.join(MISSING)}, not installed here"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The pocket model with tags of thinking that are no special tokens, as in Qwen3: special ones are not sent."""
    copy = tmp_path_factory.mktemp("plain") / "pocket"
    shutil.copytree(model_folder("pocket"), copy)
    tokenizer = json.loads((copy / "tokenizer.json").read_text("utf-8"))
    for token in tokenizer["added_tokens"]:
        token["special"] = token["special"] and "think" not in token["content"]
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    config = json.loads((copy / "tokenizer_config.json").read_text("utf-8"))
    config["extra_special_tokens"] = [t for t in config["extra_special_tokens"] if "think" not in t]
    (copy / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return copy


@pytest.fixture(scope="module")
def address(folder, tmp_path_factory):
    command = [str(Path(sys.executable).parent / "transformers"), "serve", "--dtype", "float32", "--device", "cpu",
               "--port", "{port}", "--host", "127.0.0.1"]  # fmt: skip
    log = tmp_path_factory.mktemp("serve") / "server.log"
    with real_server(command, "/health", log=log, wait_s=300) as base:
        yield base


async def solved(engine, policy, problems):
    gate = asyncio.Semaphore(2)

    async def one(problem):
        async with gate:
            return await solve(build(policy), Session(engine, problem, temperature=0.0))

    return await asyncio.gather(*map(one, problems))


async def gap_where_they_part(engine, ours, theirs):
    """How far the two best tokens lie apart where a text leaves the tokens of another chain."""
    ids = [i for span in ours.spans for i in span.ids]
    prompt = len(ours.spans[0].ids)
    same = next(n for n in range(prompt, len(ids)) if not theirs.startswith(engine.decode(ids[prompt : n + 1])))
    sequence = engine.open("1", "gap")
    sequence.cut(0)
    sequence.extend(ids[:same])
    best = (await sequence.sample(Request(limit=1, temperature=0.0, signals=Signals(top_logprobs=2)))).top_logprobs[0]
    return float(best[0] - best[1])


def test_chains_and_verdicts_are_those_of_the_local_engine(address, folder):
    served, local = load_engine(f"{address}?model={folder}&connections=2"), LocalEngine(str(folder))
    assert not served.server.ids
    assert not {Need.LOGPROBS, Need.BUDGET} & served.provides
    with pytest.raises(Unfit, match="log-prob"):
        check_fit([build("deer")], served.name, served.provides)
    problems = [p for tier, n in (("easy", 2), ("hard", 1)) for p in load_task(f"chain-sum:{tier}", limit=n).problems]

    async def work():
        async with local, served:
            for policy in ("full", "first-cue"):
                pairs = zip(*[await solved(engine, policy, problems) for engine in (local, served)], strict=True)
                for ours, theirs in pairs:
                    assert (ours.error, theirs.error) == ("", "")
                    if (ours.thinking, ours.text, ours.ended) != (theirs.thinking, theirs.text, theirs.ended):
                        written = theirs.thinking + "</think>" + theirs.text
                        assert await gap_where_they_part(local, ours, written) < 1e-4

    asyncio.run(work())


def test_tags_that_it_would_not_send_are_refused(address):
    with pytest.raises(BadInput, match="special token"):
        load_engine(f"{address}?model={model_folder('pocket')}")


def test_its_chat_route_has_whole_answers_for_policies_that_take_those(address, folder):
    served, local = load_engine(f"{address}?route=chat&model={folder}&connections=2"), LocalEngine(str(folder))
    problems = load_task("chain-sum:easy", limit=3).problems
    with pytest.raises(Unfit, match="first-cue needs"):
        check_fit([build("first-cue")], served.name, served.provides)

    async def work():
        async with local, served:
            pairs = zip(*[await solved(engine, "full", problems) for engine in (local, served)], strict=True)
            for ours, theirs in pairs:
                assert (theirs.error, theirs.ended) == ("", "model")
                assert (theirs.thinking, theirs.text) == (ours.thinking, ours.text)
            for policy in ("first-finish(n=2)", "self-consistency(n=3)"):
                for solution in await solved(served, policy, problems):
                    assert solution.error == ""
                    assert solution.text
                    assert solution.ledger.dropped > 0

    asyncio.run(work())
