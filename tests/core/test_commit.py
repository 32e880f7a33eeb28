"""What of a growing chain may be shown, on chains that grow token by token."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.catalog import build
from satisfice.core.commit import committed, committed_by_all, settled
from satisfice.core.problem import Problem
from satisfice.core.session import Session, solve
from satisfice.engines.local.engine import LocalEngine
from satisfice.methods.stopping import FAMILY
from satisfice.tasks import load_task

ALPHABET = "ab\n"


def characters(ids: list[int]) -> str:
    return "".join(ALPHABET[i] for i in ids)


def utf8(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


@given(st.lists(st.integers(0, 2), max_size=12), st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=3))
def test_no_settled_token_is_part_of_a_stop_text_that_the_next_tokens_may_complete(
    ids: list[int], texts: list[str]
) -> None:
    kept = settled(ids, texts, characters)
    text = characters(ids)
    tail_begins = [i for i in range(len(text)) for stop in texts if stop.startswith(text[i:])]
    assert kept == min([i for i in tail_begins if i >= len(text) - 4] + [_found(text, texts)], default=len(ids))


def _found(text: str, texts: list[str]) -> int:
    """Where a whole stop text begins within what `settled` looks at."""
    longest = max(map(len, texts), default=0)
    first = max(0, len(text) - longest - 3)
    return min((at for stop in texts if (at := text.find(stop, first)) >= 0), default=len(text))


def test_a_character_that_is_not_whole_waits_for_its_rest() -> None:
    whole = "so 等".encode()
    assert [settled(list(whole[:n]), ["Wait"], utf8) for n in range(len(whole) + 1)] == [0, 1, 2, 3, 3, 3, 6]
    assert settled(list("so 等".encode()), ["等等"], utf8) == 3


async def _watch(engine: LocalEngine, spec: str, problem: Problem) -> tuple[list[list[int]], list[int]]:
    """What was committed whenever a token came, and what the returned chain holds."""
    shown: list[list[int]] = []

    def show() -> None:
        shown.append(committed_by_all(session.chains))

    session = Session(engine, problem, seed=3, chain_limit=300, on_tokens=show)
    solution = await solve(build(spec), session)
    assert not solution.error
    return shown, [i for span in solution.spans[1:] for i in span.ids]


@pytest.mark.slow
def test_whatever_a_rule_does_nothing_committed_is_taken_back() -> None:
    problems = load_task("chain-sum:hard", limit=2).problems
    lively = {}

    async def watch(engine: LocalEngine, spec: str, problem: Problem) -> None:
        shown, returned = await _watch(engine, spec, problem)
        for ids in shown:
            assert ids == returned[: len(ids)], (spec, problem.id)
        lively[spec] = max(lively.get(spec, 0), len({len(ids) for ids in shown}))

    async def go() -> None:
        async with LocalEngine() as engine, asyncio.TaskGroup() as group:
            for spec in sorted(FAMILY.methods):
                try:
                    policy = build(spec)
                except ValueError:  # needs a file of what it learned
                    continue
                if policy.card.needs <= engine.provides:
                    for problem in problems:
                        group.create_task(watch(engine, spec, problem))

    asyncio.run(go())
    assert len(lively) > 12
    assert lively["full"] > 100  # token by token
    assert lively["deer"] > 50


def test_what_a_chain_stands_before_is_not_committed_and_a_fork_holds_its_parent_back() -> None:
    async def go() -> None:
        [problem] = load_task("chain-sum:easy", limit=1).problems
        async with LocalEngine() as engine, Session(engine, problem) as session:
            chain = session.chain()
            assert await chain.think(until=["\n"])
            assert engine.decode(chain.ids).count("\n") == engine.decode(chain.ids[: chain.prompt_length]).count("\n")
            before = committed(chain)
            assert before == chain.after_prompt()
            fork = chain.fork()
            await chain.think(limit=6)
            assert len(committed(chain)) == len(before) + 1 + 6  # the cue too, which the chain went past
            assert committed_by_all(session.chains) == before
            assert committed_by_all(session.chains, 2) == before[2:]
            fork.drop()
            assert committed_by_all(session.chains) == committed(chain)
            while await chain.think():
                pass
            assert chain.ended == "model"
            assert len(committed(chain)) == len(chain) - 1  # the end of thinking may be taken back
            assert chain.reopen()
            assert committed(chain) == chain.after_prompt()

    asyncio.run(go())
