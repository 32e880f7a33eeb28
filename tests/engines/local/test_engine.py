"""The local engine on a real (random) model: the promises that policies and ledgers rest on."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from satisfice.core.chain import Chain
from satisfice.core.engine import Request, Signals, Watch
from satisfice.core.errors import BadInput, EngineError
from satisfice.core.problem import Problem
from satisfice.core.session import Session, Solution, solve
from satisfice.engines.local.engine import LocalEngine

PROBLEMS = [
    Problem(id=str(i), task="t", question=f"What is {i}+{i * 7 % 50}?" + " again" * (i % 13), answer="x")
    for i in range(65)
]


class Full:
    async def __call__(self, session: Session) -> Chain:
        return await session.chain().finish()


class Looker:
    """Pauses often, looks with a probe each time, never stops."""

    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        while await chain.think(["t", "\n", "3+"], limit=9):
            trial = chain.probe().inject("</think> Wait")
            await trial.sample(4, greedy=True, signals=Signals(logprobs=True))
            trial.drop()
        return await chain.finish()


@dataclass(frozen=True)
class Many:
    n: int

    async def __call__(self, session: Session) -> Chain:
        chains = [session.chain() for _ in range(self.n)]
        tasks = [session.start(chain.finish()) for chain in chains]
        return (await asyncio.gather(*tasks))[0]


def tokens(solution: Solution) -> list[int]:
    assert not solution.error, solution.error
    return [i for span in solution.spans for i in span.ids]


async def run(
    engine: LocalEngine, policy: Callable[[Session], Awaitable[Chain]], problems: list[Problem]
) -> list[Solution]:
    return await asyncio.gather(*(solve(policy, Session(engine, p, seed=3)) for p in problems))  # type: ignore[arg-type]


async def settled(engine: LocalEngine) -> int:
    """Rows still held once the engine has read all its messages."""
    for _ in range(100):
        await asyncio.sleep(0.01)
        if not engine.rows_in_use:
            break
    return engine.rows_in_use


def reference(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_greedy_chain_and_its_logprobs_equal_transformers_generate(tiny: Path) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny)) as engine:
            sequence = engine.open("What is 12+34?", "p")
            prompt = list(sequence.ids)
            got = await sequence.sample(
                Request(limit=60, temperature=0, stop_ids=engine.end_ids, signals=Signals(logprobs=True, entropy=True,
                        top_logprobs=3, hidden=(0, 1, -1)))
            )  # fmt: skip
            ids = sequence.ids
        model = reference(tiny)
        with torch.no_grad():
            inputs = torch.tensor([prompt])
            wanted = model.generate(inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=60, do_sample=False)  # type: ignore[operator]
            out = model(torch.tensor([ids]), output_hidden_states=True)
        assert ids == wanted[0].tolist()
        logprobs = torch.log_softmax(out.logits[0], -1)[len(prompt) - 1 : -1]
        chosen = logprobs.gather(1, torch.tensor(got.ids)[:, None])[:, 0]
        np.testing.assert_allclose(got.logprobs, chosen, atol=1e-4)
        np.testing.assert_allclose(got.entropy, -(logprobs.exp() * logprobs).sum(-1), atol=1e-4)
        np.testing.assert_allclose(got.top_logprobs, logprobs.topk(3).values, atol=1e-4)
        for layer in (0, 1, -1):
            np.testing.assert_allclose(got.hidden[layer], out.hidden_states[layer][0, len(prompt) - 1 : -1], atol=1e-4)

    asyncio.run(go())


@pytest.mark.parametrize("compiled", [None, False])
def test_a_chain_is_the_same_alone_and_among_64_others_with_and_without_looks(
    tiny: Path, compiled: bool | None
) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny), compiled=compiled) as engine:
            alone = [tokens((await run(engine, Full(), [p]))[0]) for p in PROBLEMS[:5]]
            together = [tokens(s) for s in await run(engine, Full(), PROBLEMS)]
            looked = [tokens(s) for s in await run(engine, Looker(), PROBLEMS)]
            looked_alone = [tokens((await run(engine, Looker(), [p]))[0]) for p in PROBLEMS[:5]]
        assert together[:5] == alone == looked_alone
        assert looked == together
        assert len({tuple(t) for t in together}) == len(together)

    asyncio.run(go())


def test_ledgers_add_up_to_what_the_engine_decoded_and_all_rows_come_back(tiny: Path) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny), rows=24, batch=16) as engine:
            for policy in (Full(), Looker(), Many(5)):
                before = engine.counters
                done = await run(engine, policy, PROBLEMS[:30])
                spent = sum(s.ledger.spent for s in done)
                assert engine.counters.sampled - before.sampled == spent
                assert all(not s.error for s in done)
                assert await settled(engine) == 0
            assert sum(s.ledger.dropped for s in done) > 0

    asyncio.run(go())


def test_more_chains_than_rows_never_deadlock_and_evicted_ones_are_counted(tiny: Path) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny)) as engine:
            wide = [tokens(s) for s in await run(engine, Looker(), PROBLEMS[:12])]
            many = [tokens(s) for s in await run(engine, Many(6), PROBLEMS[:6])]
        async with LocalEngine(str(tiny), rows=2, batch=2) as engine:
            done = await asyncio.wait_for(run(engine, Looker(), PROBLEMS[:12]), 120)
            assert [tokens(s) for s in done] == wide
            done = await asyncio.wait_for(run(engine, Many(6), PROBLEMS[:6]), 120)
            assert [tokens(s) for s in done] == many
            assert await settled(engine) == 0
        async with LocalEngine(str(tiny), rows=1, batch=1) as engine:
            done = await asyncio.wait_for(run(engine, Looker(), PROBLEMS[:12]), 120)
            assert [tokens(s) for s in done] == wide
            assert sum(s.ledger.prefilled for s in done) > 0  # a probe takes the row of its parent

    asyncio.run(go())


def test_a_shared_prompt_is_prefilled_once(tiny: Path) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny)) as engine:
            prompt = len(engine.open(PROBLEMS[12].question, "x").ids)
            before = engine.counters
            done = await run(engine, Many(8), [PROBLEMS[12]])
            assert engine.counters.prefilled - before.prefilled == prompt - 1
            assert done[0].ledger.prefilled == 0

    asyncio.run(go())


def test_forks_leave_the_parent_untouched_and_cost_no_forward_pass(tiny: Path) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny)) as engine:
            plain = engine.open(PROBLEMS[3].question, "a")
            await plain.sample(Request(limit=40, key=7))
            forked = engine.open(PROBLEMS[3].question, "a")
            await forked.sample(Request(limit=20, key=7))
            before, held = engine.counters, list(forked.ids)
            children = [forked.fork(len(forked.ids) - n) for n in range(4)]
            got = await asyncio.gather(*(c.sample(Request(limit=10, key=50 + i)) for i, c in enumerate(children)))
            assert forked.ids == held
            after = engine.counters
            assert after.prefilled == before.prefilled
            assert after.sampled - before.sampled == sum(len(g.ids) for g in got) == 40
            assert sum(g.prefilled for g in got) == 0
            await forked.sample(Request(limit=20, key=7))
            assert forked.ids == plain.ids

    asyncio.run(go())


@pytest.mark.parametrize("seed", range(3))
def test_cancelling_stops_within_a_step_frees_the_row_and_books_what_was_sampled(tiny: Path, seed: int) -> None:
    async def go() -> None:
        rng = random.Random(seed)
        async with LocalEngine(str(tiny), rows=16, batch=12) as engine:
            for _ in range(4):
                before = engine.counters
                sessions = [Session(engine, p, seed=seed) for p in PROBLEMS[:12]]
                policy = rng.choice([Full(), Looker(), Many(4)])
                tasks = [asyncio.create_task(solve(policy, s)) for s in sessions]  # type: ignore[arg-type]
                await asyncio.sleep(rng.random() * 0.2)
                for task in tasks:
                    if rng.random() < 0.7:
                        task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                assert engine.counters.sampled - before.sampled == sum(s.ledger.spent for s in sessions)
                assert await settled(engine) == 0
            solo = engine.open("What is 1+1?", "p")
            task = asyncio.create_task(solo.sample(Request(limit=400, key=1)))
            while len(solo.ids) < 30:  # noqa: ASYNC110 - the engine has no event for a token, by design
                await asyncio.sleep(0.001)
            task.cancel()
            seen = engine.counters.steps
            await asyncio.gather(task, return_exceptions=True)
            assert engine.counters.steps - seen <= 2
            assert solo.last is not None
            assert solo.last.reason == "cancelled"

    asyncio.run(go())


def test_a_stop_text_that_spans_tokens_cuts_at_the_token_where_it_begins(tiny: Path) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny)) as engine:
            free = engine.open(PROBLEMS[5].question, "a")
            begin = len(free.ids)
            await free.sample(Request(limit=100, key=9))
            pieces = [engine.decode([i]) for i in free.ids[begin:]]
            spots = [k for k in range(len(pieces) - 2) if all(p.isascii() and len(p) > 1 for p in pieces[k : k + 2])]
            assert spots, pieces
            stop = pieces[spots[0]][-1] + pieces[spots[0] + 1][0]
            cued = engine.open(PROBLEMS[5].question, "a")
            got = await cued.sample(Request(limit=100, key=9, stop_texts=(stop,)))
            assert got.reason == "text"
            assert got.match == stop
            assert cued.ids == free.ids[: len(cued.ids)]
            assert engine.decode(cued.ids[begin:]).find(stop) >= 0
            assert stop not in engine.decode(cued.ids[begin : got.cut])
            assert stop in engine.decode(cued.ids[got.cut :])
            assert stop not in engine.decode(cued.ids[got.cut + 1 :])
            rest = await cued.sample(Request(limit=100 - len(got.ids), key=9))
            assert cued.ids == free.ids
            assert rest.reason == "length"

    asyncio.run(go())


def test_a_watch_stops_at_the_first_token_over_the_line(tiny: Path) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny)) as engine:
            free = engine.open("What is 3+4?", "a")
            seen = await free.sample(Request(limit=60, key=2, signals=Signals(logprobs=True)))
            assert seen.logprobs is not None
            means = np.convolve(seen.logprobs, np.ones(3) / 3, "valid")
            line = float(np.sort(means)[5]) + 1e-6
            first = int(np.argmax(means < line)) + 3
            cued = engine.open("What is 3+4?", "a")
            got = await cued.sample(Request(limit=60, key=2, watch=Watch(signal="logprob", below=line, window=3)))
            assert (got.reason, len(got.ids)) == ("signal", first)

    asyncio.run(go())


def test_bias_forbids_and_forces_tokens_without_changing_reported_logprobs(tiny: Path) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny)) as engine:
            forced = engine.open("What is 3+4?", "a")
            got = await forced.sample(Request(limit=5, key=2, bias={65: 1e9}, signals=Signals(logprobs=True)))
            assert set(got.ids) == {65}
            assert got.logprobs is not None
            assert (got.logprobs < -1).all()  # the model's own, not the biased ones

    asyncio.run(go())


def test_top_p_keeps_the_likeliest_and_greedy_ignores_it(tiny: Path) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny)) as engine:
            a, b = engine.open("What is 3+4?", "a"), engine.open("What is 3+4?", "a")
            greedy = await a.sample(Request(limit=30, temperature=0, key=1))
            narrow = await b.sample(Request(limit=30, temperature=1, top_p=1e-6, key=1))
            assert greedy.ids == narrow.ids

    asyncio.run(go())


def test_an_engine_is_entered_once(tiny: Path) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny)) as engine:
            with pytest.raises(BadInput, match=r"entered once\. Share it"):
                await engine.__aenter__()
            sequence = engine.open("What is 3+4?", "a")
            assert len((await sequence.sample(Request(limit=5))).ids) == 5
        with pytest.raises(BadInput, match="make another"):
            await engine.__aenter__()

    asyncio.run(go())


def test_what_breaks_in_the_engine_fails_the_problem_and_not_the_run(tiny: Path) -> None:
    class Bad:
        def __call__(self, logits: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("broken sampler")

    async def go() -> None:
        async with LocalEngine(str(tiny)) as engine:
            sequence = engine.open("What is 3+4?", "a")
            with pytest.raises(EngineError, match="broken sampler"):
                await sequence.sample(Request(limit=5, sampler=Bad()))
            assert len(tokens((await run(engine, Full(), PROBLEMS[:1]))[0])) > 0
        with pytest.raises(EngineError, match="closed"):
            await sequence.sample(Request(limit=5))

    asyncio.run(go())


def test_the_prompt_is_the_chat_form_with_thinking_open(tiny: Path) -> None:
    engine = LocalEngine(str(tiny))
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    assert engine.render("1+1?") == "<|user|>1+1?<|assistant|><think>"
    assert engine.decode(tokenizer.encode(engine.render("1+1?"), add_special_tokens=False)) == engine.render("1+1?")


def test_text_is_that_of_the_tokenizer_for_any_tokens(tiny: Path) -> None:
    engine, tokenizer = LocalEngine(str(tiny)), AutoTokenizer.from_pretrained(tiny)
    draws = random.Random(0)
    for n in range(60):
        ids = [draws.randrange(len(tokenizer)) for _ in range(n)]
        assert engine.decode(ids) == tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )  # fmt: skip


def test_sampling_past_the_context_ends_in_an_answer_from_the_reserve(tiny: Path) -> None:
    async def go() -> None:
        async with LocalEngine(str(tiny), max_length=80) as engine:
            with pytest.raises(BadInput, match="no room"):
                engine.open("again " * 80, "long one")
            done = await run(engine, Full(), PROBLEMS[:24])
            assert all(len(tokens(s)) <= 80 for s in done)
            limited = [s for s in done if s.ended == "limit"]
            assert limited
            assert all(s.text for s in limited)

    asyncio.run(go())
